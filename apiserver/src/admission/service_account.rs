//! Pods run as a service account of their namespace, and have its token mounted.

use api::{object::ObjectExt as _, pod::references, status::Status};
use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Operation, Step};
use crate::{
    resources::{PODS, SERVICE_ACCOUNTS},
    stamp::generated,
};

/// Lifetime of the token in a pod; the odd seconds mark it as made here, as upstream does.
const TOKEN_SECONDS: i64 = 3607;
const VOLUME: &str = "kube-api-access-";
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
        if is_mirror(pod) {
            return self.validate(operation).await;
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
        if says(&pod["spec"]).or_else(|| says(&found)).unwrap_or(true) && api.auth.issuer().is_some() {
            mount_token(pod);
        }
        Ok(())
    }

    async fn validate(&self, operation: &Operation<'_>) -> Result<(), Status> {
        let Some(pod) = operation.new.as_deref().filter(|pod| is_mirror(pod)) else { return Ok(()) };
        let token = |volume: &Value| {
            let mut sources = volume.list_at(&["projected", "sources"]).iter();
            sources.any(|source| source.at(&["serviceAccountToken"]).is_some_and(Value::is_object))
        };
        let why = if !pod.str_at(&["spec", "serviceAccountName"]).is_empty() {
            "a mirror pod may not reference service accounts"
        } else if references::names_secret(pod) {
            "a mirror pod may not reference secrets"
        } else if pod.list_at(&["spec", "volumes"]).iter().any(token) {
            "a mirror pod may not use ServiceAccountToken volume projections"
        } else {
            return Ok(());
        };
        Err(operation.forbidden(why))
    }
}

fn is_mirror(pod: &Value) -> bool {
    pod.at(&["metadata", "annotations", api::pod::MIRROR]).is_some()
}

/// Adds the volume with token, CA and namespace, and mounts it where containers have nothing yet.
fn mount_token(pod: &mut Value) {
    let mut present = pod.list_at(&["spec", "volumes"]).iter().map(|volume| volume.str_at(&["name"]));
    // There already when the pod is looked at again, since somebody has added a container.
    let present = present.find(|name| name.starts_with(VOLUME)).map(str::to_owned);
    let is_new = present.is_none();
    let volume = present.unwrap_or_else(|| generated(VOLUME));
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
    if !(used && is_new) {
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

#[cfg(test)]
mod tests;
