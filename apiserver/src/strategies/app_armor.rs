//! AppArmor profiles that annotations of a new pod name become fields of its containers.

use api::object::ObjectExt as _;
use serde_json::{Value, json};

use crate::context::Ctx;

const PREFIX: &str = "container.apparmor.security.beta.kubernetes.io/";

/// Makes fields of the annotations, and warns of those that have none.
pub fn create(ctx: &Ctx, pod: &mut Value) {
    if pod.str_at(&["spec", "os", "name"]) == "windows" {
        return;
    }
    let noted = pod.at(&["metadata", "annotations"]).and_then(Value::as_object);
    let noted = noted.filter(|all| all.keys().any(|key| key.starts_with(PREFIX)));
    let Some(noted) = noted.cloned() else { return };
    let of_pod = pod.at(&["spec", "securityContext", "appArmorProfile"]).cloned();
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        let containers =
            pod.get_mut("spec").and_then(|spec| spec.get_mut(list)).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let key = format!("{PREFIX}{}", container.str_at(&["name"]));
            let Some(name) = noted.get(&key).and_then(Value::as_str) else { continue };
            if container.at(&["securityContext", "appArmorProfile"]).is_some() {
                continue;
            }
            let profile = profile(name);
            if profile.is_some() && profile == of_pod {
                continue;
            }
            ctx.warnings.add([format!(
                "metadata.annotations[{key}]: deprecated since v1.30; use the \"appArmorProfile\" field instead"
            )]);
            if let (Some(profile), Some(container)) = (profile, container.as_object_mut()) {
                let context = container.entry("securityContext").or_insert_with(|| json!({}));
                context["appArmorProfile"] = profile;
            }
        }
    }
}

/// The profile that an annotation means.
fn profile(name: &str) -> Option<Value> {
    match name {
        "unconfined" => Some(json!({"type": "Unconfined"})),
        "runtime/default" => Some(json!({"type": "RuntimeDefault"})),
        _ => {
            let path =
                name.strip_prefix("localhost/").filter(|path| !path.is_empty() && path.trim() == *path)?;
            Some(json!({"type": "Localhost", "localhostProfile": path}))
        }
    }
}

#[cfg(test)]
mod tests;
