//! Volumes and where they come from.

use std::collections::{BTreeMap, BTreeSet};

use api::quantity::Quantity;
use k8s_openapi::{
    api::core::v1::{
        ClusterTrustBundleProjection, DownwardAPIVolumeFile, KeyToPath, NFSVolumeSource,
        ProjectedVolumeSource, Volume, VolumeProjection,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{
    Owner,
    env::{field_ref, resource_ref},
    foreign,
};
use crate::builtin::certificate_signing_request::signer_name;
use crate::builtin::cluster_trust_bundle::wrong_name;
use crate::builtin::persistent_volume_claim::claim_spec;
use crate::builtin::prelude::*;

/// No name of an object is longer.
const LONGEST_NAME: usize = 253;

/// Whether a path climbs.
pub fn escapes(path: &str) -> bool {
    path.split('/').any(|part| part == "..")
}

/// A relative path that does not climb.
pub fn descending_path(path: &str, at: &Path, errors: &mut Errors) {
    if path.starts_with('/') {
        errors.invalid(at, path, "must be a relative path");
    }
    if escapes(path) {
        errors.invalid(at, path, "must not contain '..'");
    }
}

/// The same, and it may not begin with `..`, which the node uses itself.
fn file_path(path: &str, at: &Path, errors: &mut Errors) {
    descending_path(path, at, errors);
    if path.starts_with("..") && !path.starts_with("../") && path != ".." {
        errors.invalid(at, path, "must not start with '..'");
    }
}

fn mode(mode: Option<i32>, field: &str, at: &Path, errors: &mut Errors) {
    if let Some(mode) = mode.filter(|m| !(0..=0o777).contains(m)) {
        let words = "must be a number between 0 and 0777 (octal), both inclusive";
        errors.invalid(&at.child(field), mode, words);
    }
}

/// A text that must be given.
pub fn required(value: &str, field: &str, at: &Path, errors: &mut Errors) {
    given(value, &at.child(field), errors);
}

/// Checks all volumes; returns those that are sound, with whether they are claims.
pub fn volumes<'a>(
    volumes: &'a [Volume],
    owner: Owner<'_>,
    at: &Path,
    errors: &mut Errors,
) -> BTreeMap<&'a str, bool> {
    let mut sound = BTreeMap::new();
    for (at, v) in at.items(volumes.iter()) {
        let before = errors.len();
        source(v, owner, &at, errors);
        formed(&v.name, dns_label, &at.child("name"), errors);
        if sound.contains_key(v.name.as_str()) {
            errors.duplicate(&at.child("name"), &v.name);
        }
        if errors.len() == before {
            sound.insert(v.name.as_str(), v.persistent_volume_claim.is_some() || v.ephemeral.is_some());
        }
    }
    sound
}

/// The sources of a volume that were found: the first is looked at, more are refused.
pub struct Sources<'a> {
    /// Where the volume is.
    pub at: &'a Path,
    found: usize,
}

impl<'a> Sources<'a> {
    /// None yet.
    pub fn of(at: &'a Path) -> Self {
        Self { at, found: 0 }
    }

    /// What a field says, if it says anything and is the first that does.
    pub fn first<'v, T>(&mut self, field: &str, said: &'v Option<T>, errors: &mut Errors) -> Option<&'v T> {
        let said = said.as_ref()?;
        self.found += 1;
        if self.found > 1 {
            errors.forbidden(&self.at.child(field), "may not specify more than 1 volume type");
        }
        (self.found == 1).then_some(said)
    }
}

fn source(v: &Volume, owner: Owner<'_>, at: &Path, errors: &mut Errors) {
    let mut found = Sources::of(at);
    if let Some(e) = found.first("emptyDir", &v.empty_dir, errors)
        && e.size_limit.as_ref().is_some_and(|l| Quantity::of(l).is_negative())
    {
        let why = "SizeLimit field must be a valid resource quantity";
        errors.forbidden(&at.child("emptyDir").child("sizeLimit"), why);
    }
    if let Some(h) = found.first("hostPath", &v.host_path, errors) {
        host_path(&h.path, h.type_.as_deref(), &at.child("hostPath"), errors);
    }
    if let Some(g) = found.first("gitRepo", &v.git_repo, errors) {
        let at = at.child("gitRepo");
        required(&g.repository, "repository", &at, errors);
        descending_path(g.directory.as_deref().unwrap_or_default(), &at.child("directory"), errors);
    }
    if let Some(s) = found.first("secret", &v.secret, errors) {
        let at = at.child("secret");
        required(s.secret_name.as_deref().unwrap_or_default(), "secretName", &at, errors);
        mode(s.default_mode, "defaultMode", &at, errors);
        items(s.items.as_deref().unwrap_or_default(), &at, errors);
    }
    if let Some(nfs) = found.first("nfs", &v.nfs, errors) {
        self::nfs(nfs, &at.child("nfs"), errors);
    }
    if let Some(i) = found.first("iscsi", &v.iscsi, errors) {
        let at = at.child("iscsi");
        required(&i.target_portal, "targetPortal", &at, errors);
        required(&i.iqn, "iqn", &at, errors);
        if !i.iqn.is_empty() {
            iscsi_node(&i.iqn, &at.child("iqn"), errors);
        }
        in_range(i64::from(i.lun), 0, 255, &at.child("lun"), errors);
        if [i.chap_auth_discovery, i.chap_auth_session].contains(&Some(true)) && i.secret_ref.is_none() {
            errors.required(&at.child("secretRef"), "");
        }
        if let Some(initiator) = &i.initiator_name {
            iscsi_node(initiator, &at.child("initiatorname"), errors);
        }
    }
    if let Some(c) = found.first("persistentVolumeClaim", &v.persistent_volume_claim, errors) {
        required(&c.claim_name, "claimName", &at.child("persistentVolumeClaim"), errors);
    }
    if let Some(d) = found.first("downwardAPI", &v.downward_api, errors) {
        let at = at.child("downwardAPI");
        mode(d.default_mode, "defaultMode", &at, errors);
        for file in d.items.iter().flatten() {
            downward_file(file, &at, errors);
        }
    }
    if let Some(c) = found.first("configMap", &v.config_map, errors) {
        let at = at.child("configMap");
        required(&c.name, "name", &at, errors);
        mode(c.default_mode, "defaultMode", &at, errors);
        items(c.items.as_deref().unwrap_or_default(), &at, errors);
    }
    if let Some(p) = found.first("projected", &v.projected, errors) {
        projected(p, &at.child("projected"), errors);
    }
    if let Some(c) = found.first("csi", &v.csi, errors) {
        let at = at.child("csi");
        csi_driver(&c.driver, &at.child("driver"), errors);
        match c.node_publish_secret_ref.as_ref().map(|secret| secret.name.as_str()) {
            None => {}
            Some("") => errors.required(&at.child("nodePublishSecretRef.name"), ""),
            Some(name) => each(errors, &at.child("name"), name, dns_subdomain(name)),
        }
    }
    if let Some(e) = found.first("ephemeral", &v.ephemeral, errors) {
        let template_at = at.child("ephemeral").child("volumeClaimTemplate");
        match &e.volume_claim_template {
            None => errors.required(&template_at, ""),
            Some(template) => {
                if let Some(meta) = &template.metadata {
                    template_meta(meta, &template_at.child("metadata"), errors);
                }
                claim_spec(&template.spec, &template_at.child("spec"), errors);
            }
        }
        // The claim is named after the pod, which a template does not name. A pod's name of any length is not looked
        // through again for each volume: one that is too long is refused for itself.
        if let Owner::Pod(ObjectMeta { name: Some(pod), .. }) = owner
            && (1..=LONGEST_NAME).contains(&pod.len())
            && !v.name.is_empty()
        {
            let claim = format!("{pod}-{}", v.name);
            for wrong in dns_subdomain(&claim) {
                errors.invalid(&at.child("name"), &v.name, format!("PVC name {claim:?}: {wrong}"));
            }
        }
    }
    if let Some(i) = found.first("image", &v.image, errors) {
        let at = at.child("image");
        if owner.is_pod() {
            required(i.reference.as_deref().unwrap_or_default(), "reference", &at, errors);
        }
        given_one_of(
            i.pull_policy.as_deref(),
            &["Always", "IfNotPresent", "Never"],
            &at.child("pullPolicy"),
            errors,
        );
    }
    foreign::sources(v, &mut found, errors);
    if found.found == 0 {
        errors.required(at, "must specify a volume type");
    }
}

/// What is made from a claim's template is named and owned by others: it has labels and annotations only.
fn template_meta(meta: &ObjectMeta, at: &Path, errors: &mut Errors) {
    annotation_map(meta.annotations.as_ref(), &at.child("annotations"), errors);
    label_map(meta.labels.as_ref(), &at.child("labels"), errors);
    let text = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    for (field, is_set) in [
        ("name", text(&meta.name)),
        ("generateName", text(&meta.generate_name)),
        ("namespace", text(&meta.namespace)),
        ("selfLink", text(&meta.self_link)),
        ("uid", text(&meta.uid)),
        ("resourceVersion", text(&meta.resource_version)),
        ("generation", meta.generation.is_some_and(|n| n != 0)),
        ("creationTimestamp", meta.creation_timestamp.is_some()),
        ("deletionTimestamp", meta.deletion_timestamp.is_some()),
        ("deletionGracePeriodSeconds", meta.deletion_grace_period_seconds.is_some()),
        ("ownerReferences", meta.owner_references.is_some()),
        ("finalizers", meta.finalizers.is_some()),
        ("managedFields", meta.managed_fields.is_some()),
    ] {
        if is_set {
            errors.forbidden(&at.child(field), "cannot be set");
        }
    }
}

/// The name of a CSI driver.
pub fn csi_driver(name: &str, at: &Path, errors: &mut Errors) {
    const MOST: usize = 63;
    if name.is_empty() {
        return errors.required(at, "");
    }
    if name.len() > MOST {
        errors.too_long(at, MOST);
    }
    each(errors, at, name, dns_subdomain(&name.to_lowercase()));
}

/// A share of a file server.
pub fn nfs(share: &NFSVolumeSource, at: &Path, errors: &mut Errors) {
    required(&share.server, "server", at, errors);
    required(&share.path, "path", at, errors);
    if !share.path.starts_with('/') {
        errors.invalid(&at.child("path"), &share.path, "must be an absolute path");
    }
}

fn iscsi_node(name: &str, at: &Path, errors: &mut Errors) {
    if !["iqn", "eui", "naa"].iter().any(|sort| name.starts_with(sort)) {
        errors.invalid(at, name, "must be valid format starting with iqn, eui, or naa");
    } else if !iscsi_name(name) {
        errors.invalid(at, name, "must be valid format");
    }
}

/// Whether a text names an iSCSI node: `iqn.YYYY-MM.DOMAIN:NAME`, `eui.` and 16 or `naa.` and 32 letters and digits.
pub fn iscsi_name(text: &str) -> bool {
    let alphanumeric =
        |text: &str, count: usize| text.len() == count && text.bytes().all(|b| b.is_ascii_alphanumeric());
    if let Some(rest) = text.strip_prefix("eui.") {
        return alphanumeric(rest, 16);
    }
    if let Some(rest) = text.strip_prefix("naa.") {
        return alphanumeric(rest, 32);
    }
    let Some((date, rest)) = text.strip_prefix("iqn.").and_then(|rest| rest.split_once('.')) else {
        return false;
    };
    let Some((domain, name)) = rest.split_once(':') else { return false };
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    let dated = date.split_once('-').is_some_and(|(year, month)| digits(year, 4) && digits(month, 2));
    let in_domain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    let in_name = |c: char| !c.is_whitespace() && !",;*&$|".contains(c);
    dated
        && !domain.is_empty()
        && domain.bytes().all(in_domain)
        && !name.is_empty()
        && name.chars().all(in_name)
}

/// A path on the node, and what must be there.
pub fn host_path(path: &str, kind: Option<&str>, at: &Path, errors: &mut Errors) {
    const TYPES: &[&str] = &[
        "",
        "BlockDevice",
        "CharDevice",
        "Directory",
        "DirectoryOrCreate",
        "File",
        "FileOrCreate",
        "Socket",
    ];
    if path.is_empty() {
        errors.required(&at.child("path"), "");
        return;
    }
    if escapes(path) {
        errors.invalid(&at.child("path"), path, "must not contain '..'");
    }
    one_of(kind, TYPES, &at.child("type"), errors);
}

fn items(items: &[KeyToPath], at: &Path, errors: &mut Errors) {
    for (at, item) in at.child("items").items(items.iter()) {
        required(&item.key, "key", &at, errors);
        required(&item.path, "path", &at, errors);
        file_path(&item.path, &at.child("path"), errors);
        mode(item.mode, "mode", &at, errors);
    }
}

fn downward_file(file: &DownwardAPIVolumeFile, at: &Path, errors: &mut Errors) {
    const FIELDS: &[&str] =
        &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
    required(&file.path, "path", at, errors);
    file_path(&file.path, &at.child("path"), errors);
    match (&file.field_ref, &file.resource_field_ref) {
        (Some(field), resource) => {
            field_ref(field, FIELDS, &at.child("fieldRef"), errors);
            if resource.is_some() {
                let words = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.invalid(at, "resource", words);
            }
        }
        (None, Some(resource)) => resource_ref(resource, true, &at.child("resourceFieldRef"), errors),
        (None, None) => errors.required(at, "one of fieldRef and resourceFieldRef is required"),
    }
    mode(file.mode, "mode", at, errors);
}

fn projected(p: &ProjectedVolumeSource, at: &Path, errors: &mut Errors) {
    mode(p.default_mode, "defaultMode", at, errors);
    let mut paths = BTreeSet::new();
    for (i, projection) in p.sources.iter().flatten().enumerate() {
        project(projection, &mut paths, at, i, errors);
    }
}

fn trust_bundle(bundle: &ClusterTrustBundleProjection, at: &Path, errors: &mut Errors) {
    let selector_at = at.child("labelSelector");
    match (&bundle.name, &bundle.signer_name) {
        (Some(_), Some(_)) => errors.invalid(at, bundle, "only one of name and signerName may be used"),
        (Some(name), None) => {
            let name_at = at.child("name");
            if name.is_empty() {
                errors.required(&name_at, "must be a valid object name");
            }
            let signer = name.rsplit_once(':').map(|(signer, _)| signer.replace(':', "/"));
            for why in wrong_name(&signer.unwrap_or_default(), name) {
                errors.invalid(&name_at, name, format!("not a valid clustertrustbundlename: {why}"));
            }
            if let Some(selector) = &bundle.label_selector {
                errors.invalid(&selector_at, selector, "labelSelector must be unset if name is specified");
            }
        }
        (None, Some(signer)) => {
            let signer_at = at.child("signerName");
            if signer.is_empty() {
                errors.required(&signer_at, "must be a valid signer name");
            }
            signer_name(signer, &signer_at, errors);
            label_selector(bundle.label_selector.as_ref(), &selector_at, errors);
        }
        (None, None) => errors.required(at, "either name or signerName must be specified"),
    }
    required(&bundle.path, "path", at, errors);
    file_path(&bundle.path, &at.child("path"), errors);
}

/// Source `i` of the projected volume at `at`. Upstream names the volume where the paths of two sources meet.
fn project<'a>(
    p: &'a VolumeProjection,
    paths: &mut BTreeSet<&'a str>,
    at: &Path,
    i: usize,
    errors: &mut Errors,
) {
    let source_at = at.child("sources").index(i);
    let mut count = 0;
    let mut take = |path: &'a str, shown: &str, errors: &mut Errors| {
        if !path.is_empty() && !paths.insert(path) {
            errors.invalid(at, shown, "conflicting duplicate paths");
        }
    };
    let files = [
        ("secret", p.secret.as_ref().map(|s| (&s.name, s.items.as_deref()))),
        ("configMap", p.config_map.as_ref().map(|c| (&c.name, c.items.as_deref()))),
    ];
    for (field, (name, list)) in files.into_iter().filter_map(|(field, source)| Some((field, source?))) {
        count += 1;
        let at = source_at.child(field);
        let list = list.unwrap_or_default();
        required(name, "name", &at, errors);
        items(list, &at, errors);
        list.iter().for_each(|item| take(&item.path, name, errors));
    }
    if let Some(d) = &p.downward_api {
        count += 1;
        for file in d.items.iter().flatten() {
            downward_file(file, &source_at.child("downwardAPI"), errors);
            take(&file.path, &file.path, errors);
        }
    }
    if let Some(t) = &p.service_account_token {
        count += 1;
        let seconds = t.expiration_seconds.unwrap_or(3600);
        token_lifetime(seconds, &source_at.child("serviceAccountToken.expirationSeconds"), errors);
        if t.path.is_empty() {
            errors.required(&at.child("path"), "");
        } else {
            file_path(&t.path, &at.child("path"), errors);
        }
    }
    if let Some(bundle) = &p.cluster_trust_bundle {
        count += 1;
        trust_bundle(bundle, &source_at.child("clusterTrustBundle"), errors);
        take(&bundle.path, &bundle.path, errors);
    }
    if count > 1 {
        errors.forbidden(&source_at, "may not specify more than 1 volume type per source");
    }
}
