//! Annotations of a pod or of its template that mean something to Kubernetes itself.
//!
//! Counterpart of `ValidatePodSpecificAnnotations` in upstream's `pkg/apis/core/validation`.

use std::collections::{BTreeMap, BTreeSet};

use api::field::{Errors, Path};
use api::pod::MIRROR;
use k8s_openapi::api::core::v1::PodSpec;

use super::volume::descending_path;

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const APP_ARMOR_CONTAINER: &str = "container.apparmor.security.beta.kubernetes.io/";

/// What is wrong with the annotations of whatever has this spec.
pub fn validate(
    annotations: Option<&BTreeMap<String, String>>,
    spec: &PodSpec,
    at: &Path,
    errors: &mut Errors,
) {
    let all = || annotations.into_iter().flatten().map(|(key, value)| (key.as_str(), value.as_str()));
    for (key, value) in all() {
        if key == MIRROR && spec.node_name.as_deref().is_none_or(str::is_empty) {
            let words = "must set spec.nodeName if mirror pod annotation is set";
            errors.invalid(&at.key(MIRROR), value, words);
        }
        if key == DELETION_COST && !is_cost(value) {
            errors.invalid(&at.key(DELETION_COST), value, "must be a 32bit integer");
        }
    }
    for (key, value) in all() {
        if key == SECCOMP_POD || key.starts_with(SECCOMP_CONTAINER) {
            seccomp(value, &at.child(key), errors);
        }
    }
    let names: BTreeSet<&str> = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
        .map(|c| c.name.as_str())
        .chain(spec.ephemeral_containers.iter().flatten().map(|c| c.name.as_str()))
        .collect();
    for (key, profile) in all() {
        let Some(container) = key.strip_prefix(APP_ARMOR_CONTAINER) else { continue };
        if !names.contains(container) {
            errors.invalid(&at.key(key), container, "container not found");
        }
        let known = ["", "runtime/default", "unconfined"].contains(&profile);
        if !known && !profile.starts_with("localhost/") {
            errors.invalid(&at.key(key), profile, format!("invalid AppArmor profile name: {profile:?}"));
        }
    }
}

/// What an update may not do to them. Counterpart of `ValidatePodSpecificAnnotationUpdates`.
pub fn update(
    new: Option<&BTreeMap<String, String>>,
    old: Option<&BTreeMap<String, String>>,
    errors: &mut Errors,
) {
    let at = Path::new("metadata.annotations");
    let none = BTreeMap::new();
    let (new, old) = (new.unwrap_or(&none), old.unwrap_or(&none));
    let changed = old.iter().filter(|(key, value)| new.get(*key) != Some(*value));
    let added = new.iter().filter(|(key, _)| !old.contains_key(*key));
    let all = changed.map(|entry| (entry, "remove or update")).chain(added.map(|entry| (entry, "add")));
    for ((key, _), done) in all {
        let whose = match key.as_str() {
            MIRROR => "mirror pod annotation",
            key if key.starts_with(APP_ARMOR_CONTAINER) => "AppArmor annotations",
            _ => continue,
        };
        errors.forbidden(&at.key(key), format!("may not {done} {whose}"));
    }
}

/// Whether a text is a number of 32 bits that does not begin with a plus sign or a zero too many.
fn is_cost(text: &str) -> bool {
    (text == "0" || !text.starts_with(['+', '0'])) && text.parse::<i32>().is_ok()
}

fn seccomp(profile: &str, at: &Path, errors: &mut Errors) {
    if ["runtime/default", "docker/default", "unconfined"].contains(&profile) {
        return;
    }
    match profile.strip_prefix("localhost/") {
        Some(path) => descending_path(path, at, errors),
        None => errors.invalid(at, profile, "must be a valid seccomp profile"),
    }
}
