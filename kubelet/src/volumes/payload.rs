//! The files of volumes that follow objects of the API: which keys, under which paths, with which modes.

use api::selector::LabelSelector;
use api::{Message, message};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use k8s_openapi::api::core::v1::{
    ClusterTrustBundleProjection, ConfigMapProjection, DownwardAPIProjection, KeyToPath, Pod,
    ProjectedVolumeSource, SecretProjection, Volume, VolumeProjection,
};
use machinery::pki;

use super::ownership::{self, Group};
use crate::downward::{self, NodeFacts};
use crate::pod_spec;
use crate::referenced_objects::Objects;

/// One file of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    /// What is in it; shared by all files of one key.
    pub(super) bytes: Bytes,
    /// Who may do what.
    pub(super) mode: u32,
    /// Whose it is; else root's.
    pub(super) user: Option<u32>,
}

/// The files of a volume by their path in it.
pub(super) type Files = BTreeMap<String, File>;

/// How much the files of one volume may hold together, in bytes. An object holds a mebibyte, but a volume may ask
/// for it under thousands of names, and lies in the node's memory.
const MOST_BYTES: usize = 256 << 20;

/// Whether the files of a volume follow objects of the API.
pub(super) fn follows(volume: &Volume) -> bool {
    projected(volume).is_some()
}

/// ConfigMaps, Secrets and the downward API are projections of one source each.
pub(super) fn projected(volume: &Volume) -> Option<ProjectedVolumeSource> {
    let one = |default_mode: Option<i32>, source: VolumeProjection| ProjectedVolumeSource {
        default_mode,
        sources: Some(vec![source]),
    };
    if let Some(source) = &volume.projected {
        return Some(source.clone());
    }
    if let Some(source) = &volume.config_map {
        let projection = ConfigMapProjection {
            name: source.name.clone(),
            items: source.items.clone(),
            optional: source.optional,
        };
        let projection = VolumeProjection { config_map: Some(projection), ..VolumeProjection::default() };
        return Some(one(source.default_mode, projection));
    }
    if let Some(source) = &volume.secret {
        let projection = SecretProjection {
            name: source.secret_name.clone().unwrap_or_default(),
            items: source.items.clone(),
            optional: source.optional,
        };
        let projection = VolumeProjection { secret: Some(projection), ..VolumeProjection::default() };
        return Some(one(source.default_mode, projection));
    }
    let source = volume.downward_api.as_ref()?;
    let projection = DownwardAPIProjection { items: source.items.clone() };
    let projection = VolumeProjection { downward_api: Some(projection), ..VolumeProjection::default() };
    Some(one(source.default_mode, projection))
}

/// Asks for all that a volume is made of.
pub(super) async fn collect(
    objects: &Objects,
    pod: &Pod,
    source: &ProjectedVolumeSource,
    node: &NodeFacts,
    age: Duration,
) -> Result<Files, Message> {
    let namespace = pod_spec::namespace(pod);
    let default_mode = source.default_mode.unwrap_or(0o644);
    let mut collected = Collected::default();
    for source in source.sources.iter().flatten() {
        if let Some(map) = &source.config_map {
            let found = objects.config_map(namespace, &map.name, age).await.map_err(Message::of)?;
            let optional = map.optional.unwrap_or(false);
            let Some(found) = found else {
                missing("configmap", &map.name, optional)?;
                continue;
            };
            let text = found.data.iter().flatten().map(|(k, v)| (k.as_str(), v.as_bytes()));
            let bytes = found.binary_data.iter().flatten().map(|(k, v)| (k.as_str(), v.0.as_slice()));
            let data = text.chain(bytes).collect();
            select(&data, map.items.as_deref(), "config", optional, default_mode, &mut collected)?;
        }
        if let Some(secret) = &source.secret {
            let found = objects.secret(namespace, &secret.name, age).await.map_err(Message::of)?;
            let optional = secret.optional.unwrap_or(false);
            let Some(found) = found else {
                missing("secret", &secret.name, optional)?;
                continue;
            };
            let data = found.data.iter().flatten().map(|(k, v)| (k.as_str(), v.0.as_slice())).collect();
            select(&data, secret.items.as_deref(), "secret", optional, default_mode, &mut collected)?;
        }
        if let Some(downward) = &source.downward_api {
            for item in downward.items.iter().flatten() {
                let text = if let Some(field) = &item.field_ref {
                    downward::field(pod, &[], node, &field.field_path)?
                } else if let Some(resource) = &item.resource_field_ref {
                    let name = resource.container_name.as_deref().unwrap_or_default();
                    let (container, _) = pod_spec::container(pod, name)
                        .ok_or_else(|| format!("container {name:?} not found"))?;
                    downward::resource(&container, node, &resource.resource, resource.divisor.as_ref())?
                } else {
                    continue;
                };
                collected.put(&item.path, text.into(), item.mode.unwrap_or(default_mode), None)?;
            }
        }
        if let Some(token) = &source.service_account_token {
            let seconds = token.expiration_seconds.unwrap_or(3600);
            let text = objects.token(pod, token.audience.as_deref(), seconds).await;
            let text = text.map_err(|e| format!("failed to fetch token: {e}"))?;
            let (mode, user) = token_access(pod, default_mode);
            collected.put(&token.path, text.into(), mode, user)?;
        }
        if let Some(wanted) = &source.cluster_trust_bundle {
            let anchors = trust_anchors(objects, wanted, age).await?;
            let (mode, user) = token_access(pod, default_mode);
            collected.put(&wanted.path, anchors.into(), mode, user)?;
        }
    }
    Ok(collected.files)
}

/// The certificates (PEM) of the bundles that are wanted, each once, however they are written there.
async fn trust_anchors(
    objects: &Objects,
    wanted: &ClusterTrustBundleProjection,
    age: Duration,
) -> Result<String, Message> {
    let found: Vec<_> = if let Some(name) = &wanted.name {
        Vec::from_iter(objects.trust_bundle(name, age).await.map_err(Message::of)?)
    } else {
        let selector = LabelSelector::from_label_selector(wanted.label_selector.as_ref())?;
        let (mut found, none) = (objects.all_trust_bundles(age).await.map_err(Message::of)?, BTreeMap::new());
        found.retain(|bundle| {
            bundle.spec.signer_name == wanted.signer_name
                && selector.matches(bundle.metadata.labels.as_ref().unwrap_or(&none))
        });
        found
    };
    if found.is_empty() && !wanted.optional.unwrap_or(false) {
        return Err(match &wanted.name {
            Some(name) => message!("clustertrustbundle.certificates.k8s.io {name:?} not found"),
            None => "combination of signerName and labelSelector matched zero ClusterTrustBundles".into(),
        });
    }
    let blocks = found.iter().flat_map(|bundle| pki::blocks(bundle.spec.trust_bundle.as_bytes()));
    let anchors: BTreeSet<Vec<u8>> = blocks.collect();
    Ok(anchors.iter().map(|anchor| pki::pem("CERTIFICATE", anchor)).collect())
}

/// Mode and owner of a token, and of what else is kept so: only those may read it who need it, where the pod says who that is.
fn token_access(pod: &Pod, default_mode: i32) -> (i32, Option<u32>) {
    let user = ownership::only_user(pod);
    let known = user.is_some() || Group::of(pod, true).is_some();
    (if known { 0o600 } else { default_mode }, user)
}

fn missing(kind: &str, name: &str, optional: bool) -> Result<(), Message> {
    if optional { Ok(()) } else { Err(message!("{kind} {name:?} not found")) }
}

/// Picks the asked-for keys of an object, or all of them.
fn select(
    data: &BTreeMap<&str, &[u8]>,
    items: Option<&[KeyToPath]>,
    word: &str,
    optional: bool,
    default_mode: i32,
    collected: &mut Collected,
) -> Result<(), Message> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        for (key, bytes) in data {
            collected.put(key, Bytes::copy_from_slice(bytes), default_mode, None)?;
        }
        return Ok(());
    };
    let mut copied: BTreeMap<&str, Bytes> = BTreeMap::new();
    for item in items {
        match data.get(item.key.as_str()) {
            Some(bytes) => {
                let bytes = copied.entry(&item.key).or_insert_with(|| Bytes::copy_from_slice(bytes));
                collected.put(&item.path, bytes.clone(), item.mode.unwrap_or(default_mode), None)?;
            }
            None if optional => {}
            None => return Err(message!("references non-existent {word} key: {}", item.key)),
        }
    }
    Ok(())
}

/// The files so far, and how much they hold.
#[derive(Default)]
struct Collected {
    files: Files,
    bytes: usize,
}

impl Collected {
    fn put(&mut self, path: &str, bytes: Bytes, mode: i32, user: Option<u32>) -> Result<(), Message> {
        let stays_inside = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if !stays_inside || path.starts_with("..") {
            return Err(message!("invalid path {path:?}: it must be relative and stay inside the volume"));
        }
        self.bytes += bytes.len();
        if self.bytes > MOST_BYTES {
            return Err(message!("the files of the volume hold more than {MOST_BYTES} bytes"));
        }
        let mode = u32::try_from(mode).unwrap_or(0o644) & 0o777;
        self.files.insert(path.to_owned(), File { bytes, mode, user });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
