//! What the cluster adds to pods: their service account with its token, the tolerations that bound how long
//! they outlive their node, and their priority.

use api::{object::ObjectExt as _, status::Status};
use serde_json::{Value, json};

use super::{priority, runtime_class};
use crate::{context::Ctx, resources::SERVICE_ACCOUNTS, stamp::generated};

/// Seconds a pod stays on a node that is not ready or not reachable, unless it says otherwise.
const TOLERATION_SECONDS: i64 = 300;
/// Lifetime of the token in a pod; the odd seconds mark it as made here, as upstream does.
const TOKEN_SECONDS: i64 = 3607;
const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Completes a new pod.
///
/// # Errors
/// 403 when its service account or a class that it names does not exist.
pub async fn create(ctx: &Ctx, pod: &mut Value) -> Result<(), Status> {
    tolerations(pod);
    priority::apply(ctx, pod).await?;
    runtime_class::apply(ctx, pod).await?;
    service_account(ctx, pod).await
}

/// Completes a changed pod.
pub fn update(new: &mut Value, old: &Value) {
    // A client that leaves the computed fields out does not mean to change them.
    for field in ["priority", "preemptionPolicy"] {
        if new["spec"].get(field).is_none()
            && let Some(value) = old["spec"].get(field)
        {
            new["spec"][field] = value.clone();
        }
    }
    tolerations(new);
}

fn tolerations(pod: &mut Value) {
    let present = pod.at(&["spec", "tolerations"]).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut all = present.clone();
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let covered = present.iter().any(|t| {
            let fits =
                |field: &str, wanted: &str| t.str_at(&[field]).is_empty() || t.str_at(&[field]) == wanted;
            fits("key", key) && fits("effect", "NoExecute")
        });
        if !covered {
            all.push(json!({
                "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TOLERATION_SECONDS,
            }));
        }
    }
    pod["spec"]["tolerations"] = all.into();
}

async fn service_account(ctx: &Ctx, pod: &mut Value) -> Result<(), Status> {
    // A mirror pod only shows what runs on a node already.
    if pod.at(&["metadata", "annotations", "kubernetes.io/config.mirror"]).is_some() {
        return Ok(());
    }
    let namespace = pod.namespace().to_owned();
    if pod.str_at(&["spec", "serviceAccountName"]).is_empty() {
        pod["spec"]["serviceAccountName"] = json!("default");
    }
    let account = pod.str_at(&["spec", "serviceAccountName"]).to_owned();
    pod["spec"]["serviceAccount"] = json!(account);
    let found = ctx.api.find(SERVICE_ACCOUNTS, &format!("{namespace}/{account}")).await?;
    let found = found.ok_or_else(|| {
        let why = format!(
            "error looking up service account {namespace}/{account}: serviceaccount {account:?} not found"
        );
        Status::forbidden("pods", "", pod.name(), why)
    })?;
    let secrets = found.get("imagePullSecrets").and_then(Value::as_array).filter(|s| !s.is_empty());
    if let Some(secrets) = secrets
        && pod["spec"]["imagePullSecrets"].as_array().is_none_or(Vec::is_empty)
    {
        pod["spec"]["imagePullSecrets"] = secrets.clone().into();
    }
    let says = |v: &Value| v.get("automountServiceAccountToken").and_then(Value::as_bool);
    if says(&pod["spec"]).or_else(|| says(&found)).unwrap_or(true) && ctx.api.auth.issues_tokens() {
        mount_token(pod);
    }
    Ok(())
}

/// Adds the volume with token, CA and namespace, and mounts it where containers have nothing yet.
fn mount_token(pod: &mut Value) {
    let volume = generated("kube-api-access-");
    let mount = json!({"name": volume, "readOnly": true, "mountPath": TOKEN_PATH});
    let mut used = false;
    for list in ["initContainers", "containers"] {
        for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
            let mounts = container["volumeMounts"].as_array().cloned().unwrap_or_default();
            if mounts.iter().any(|m| m["mountPath"] == TOKEN_PATH) {
                continue;
            }
            container["volumeMounts"] = mounts.into_iter().chain([mount.clone()]).collect();
            used = true;
        }
        if pod["spec"][list].is_null()
            && let Some(spec) = pod["spec"].as_object_mut()
        {
            spec.remove(list);
        }
    }
    if !used {
        return;
    }
    let mut volumes = pod["spec"]["volumes"].as_array().cloned().unwrap_or_default();
    volumes.push(json!({
        "name": volume,
        "projected": {
            "defaultMode": 0o644,
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [
                    {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
                ]}},
            ],
        },
    }));
    pod["spec"]["volumes"] = volumes.into();
}
