//! Pods run as a service account of their namespace, and have its token mounted.

use api::{object::ObjectExt as _, status::Status};
use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Operation, Step};
use crate::{
    resources::{PODS, SERVICE_ACCOUNTS},
    stamp::generated,
};

/// Lifetime of the token in a pod; the odd seconds mark it as made here, as upstream does.
const TOKEN_SECONDS: i64 = 3607;
const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The step.
pub struct ServiceAccount;

#[async_trait]
impl Step for ServiceAccount {
    fn handles(&self, operation: &Operation<'_>) -> bool {
        operation.creates(PODS)
    }

    async fn mutate(&self, operation: &mut Operation<'_>) -> Result<(), Status> {
        let Some(pod) = operation.new.as_deref_mut() else { return Ok(()) };
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
        let api = &operation.ctx.api;
        let Some(found) = api.find(SERVICE_ACCOUNTS, &format!("{namespace}/{account}")).await? else {
            return Err(operation.forbidden(format!(
                "error looking up service account {namespace}/{account}: serviceaccount {account:?} not found"
            )));
        };
        let secrets = found.get("imagePullSecrets").and_then(Value::as_array).filter(|s| !s.is_empty());
        if let Some(secrets) = secrets
            && pod["spec"]["imagePullSecrets"].as_array().is_none_or(Vec::is_empty)
        {
            pod["spec"]["imagePullSecrets"] = secrets.clone().into();
        }
        let says = |v: &Value| v.get("automountServiceAccountToken").and_then(Value::as_bool);
        if says(&pod["spec"]).or_else(|| says(&found)).unwrap_or(true) && api.auth.issues_tokens() {
            mount_token(pod);
        }
        Ok(())
    }
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
