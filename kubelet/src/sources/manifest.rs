//! A manifest → the static pod that it describes. Pure. Defaults and validation are the API's own; what would need the
//! API server to run is refused. Corresponds to upstream's `config/common.go` and `HasAPIObjectReference`.

use api::pod::references;
use api::validation::path_segment;
use k8s_openapi::api::core::v1::{Pod, Toleration};
use kinds::builtin::priority_class;
use kinds::kind::{Rules as _, Strategy as _, Typed};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::labels::{CONFIG_HASH, CONFIG_SOURCE};

/// Why a manifest is no pod for this node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It is no text of an object.
    #[error("couldn't parse as pod: {0}")]
    Unreadable(String),
    /// It is another object.
    #[error("couldn't parse as pod: it is of kind {0:?}")]
    OtherKind(String),
    /// It breaks the rules of pods.
    #[error("invalid pod: {0}")]
    Invalid(String),
    /// It needs something of the API server.
    #[error("static pods may not reference {0}")]
    References(&'static str),
}

/// Reads the manifest of a file, in YAML or JSON, for a node.
pub fn read(text: &[u8], file: &str, node: &str) -> Result<Pod, ManifestError> {
    let object: Value =
        serde_yaml_ng::from_slice(text).map_err(|error| ManifestError::Unreadable(error.to_string()))?;
    if object["kind"] != "Pod" || object["apiVersion"] != "v1" {
        let word = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
        return Err(ManifestError::OtherKind(
            format!("{} {}", word("apiVersion"), word("kind")).trim().to_owned(),
        ));
    }
    let rules = Typed::<Pod>::RULES;
    let invalid = |why: String| ManifestError::Invalid(why);
    let object = rules.default(object).map_err(|error| invalid(error.to_string()))?;
    let mut pod: Pod = serde_json::from_value(object).map_err(|error| invalid(error.to_string()))?;
    let Some(name) = pod.metadata.name.take().filter(|name| !name.is_empty()) else {
        return Err(invalid("name is needed for the pod".to_owned()));
    };
    let uid = match pod.metadata.uid.take().filter(|uid| !uid.is_empty()) {
        Some(uid) if path_segment(&uid).is_empty() => uid,
        Some(uid) => return Err(invalid(format!("metadata.uid: {}", path_segment(&uid).join(", ")))),
        None => hash(&pod, &name, file, node),
    };
    pod.metadata.name = Some(format!("{name}-{node}"));
    pod.metadata.namespace.get_or_insert_with(|| "default".to_owned());
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.insert(CONFIG_HASH.to_owned(), uid.clone());
    annotations.insert(CONFIG_SOURCE.to_owned(), "file".to_owned());
    pod.metadata.uid = Some(uid);
    pod.status = None;
    let spec = pod.spec.get_or_insert_default();
    spec.node_name = Some(node.to_owned());
    let class = spec.priority_class_name.as_deref().unwrap_or_default();
    spec.priority = priority_class::of_system(class).or(spec.priority);
    // Trouble with the node does not drive out what belongs to it.
    let stays = Toleration {
        operator: Some("Exists".to_owned()),
        effect: Some("NoExecute".to_owned()),
        ..Toleration::default()
    };
    let tolerations = spec.tolerations.get_or_insert_default();
    if !tolerations.contains(&stays) {
        tolerations.push(stays);
    }
    let object = serde_json::to_value(&pod).map_err(|error| invalid(error.to_string()))?;
    let mut errors = api::validation::object_meta(&object, Pod::FACTS.names, true);
    errors.extend(rules.validate(&object).errors);
    if !errors.is_empty() {
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        return Err(invalid(texts.join(", ")));
    }
    match references::named_object(&object) {
        Some(resource) => Err(ManifestError::References(resource)),
        None => Ok(pod),
    }
}

/// The uid of a manifest: another content, file or node makes another pod.
fn hash(pod: &Pod, name: &str, file: &str, node: &str) -> String {
    let mut hash = Sha256::new();
    for part in [&serde_json::to_string(pod).unwrap_or_default(), name, file, node] {
        hash.update(part);
        hash.update([0]);
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
