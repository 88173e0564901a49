//! The APIService objects of what this server serves itself: one for each group version, always available; and what is
//! to be said of those that name another server.
//!
//! Level-triggered: whenever the table of kinds or these objects change, what is missing is made, and what this
//! server made for a version that is gone is removed. Upstream counterparts: the autoregister and availability
//! controllers of kube-aggregator.

use std::{collections::BTreeMap, sync::Arc};

use api::{conditions, object::ObjectExt as _, status::Status};
use kinds::builtin::api_service::group_priority;
use serde_json::{Value, json};

use super::{Left, statuses::tell};
use crate::{
    Api,
    context::Ctx,
    forms::value,
    registry::Table,
    resources::{API_SERVICES, BuiltIn, CUSTOM_RESOURCE_DEFINITIONS, SERVICES},
    stamp::now,
    verbs::{create, delete},
    watch_cache::Scope,
};

/// Who says in `managedFields` what is available.
const MANAGER: &str = "kube-apiserver";
/// Marks objects that come and go with the group version.
const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";
/// What changes them, and what changes the table of kinds.
pub const FOLLOWED: [BuiltIn; 3] = [API_SERVICES, SERVICES, CUSTOM_RESOURCE_DEFINITIONS];
const CUSTOM_VERSION: i32 = 100;

/// Makes what is missing and removes what is too much.
pub async fn look(api: Arc<Api>) -> Result<Left, Status> {
    api.cache.fresh().await?;
    let wanted = wanted(&api.table());
    for (name, object) in &wanted {
        if api.cached(API_SERVICES, name).is_none() {
            create::ensure(&api, API_SERVICES, object.clone()).await?;
        }
    }
    for object in api.objects(API_SERVICES).scan(&Scope::All, None) {
        if object.label(MANAGED) == Some("true") && !wanted.contains_key(object.name()) {
            let ctx = Ctx::internal(&api, API_SERVICES, None, Some(object.name()))?;
            match delete::delete_object(&ctx, object.name(), &delete::DeleteOptions::default()).await {
                Err(status) if status.code != 404 => return Err(status),
                _ => {}
            }
        }
    }
    let find = |key: &str| value(&*api.cached(SERVICES, key)?).ok();
    tell(&api, API_SERVICES, MANAGER, |service| told(service, find)).await?;
    Ok(Left::Nothing)
}

/// An API service that says whether requests to it are answered.
fn told(service: &Value, find: impl FnOnce(&str) -> Option<Value>) -> Value {
    let (is_available, reason, message) = availability(service, find);
    let mut told = service.clone();
    conditions::set_in(&mut told, conditions::told("Available", is_available, reason, &message, &now()));
    told
}

/// Whether requests to an API service are answered, and why not. `find` knows the Services there are, by their keys.
fn availability(service: &Value, find: impl FnOnce(&str) -> Option<Value>) -> (bool, &'static str, String) {
    let Some(behind) = service.at(&["spec", "service"]).filter(|behind| behind.is_object()) else {
        return (true, "Local", "Local APIServices are always available".into());
    };
    let (namespace, name) = (behind.str_at(&["namespace"]), behind.str_at(&["name"]));
    let Some(found) = find(&format!("{namespace}/{name}")) else {
        return (false, "ServiceNotFound", format!("service/{name} in {namespace:?} is not present"));
    };
    let ports = found.at(&["spec", "ports"]).and_then(Value::as_array);
    if found.str_at(&["spec", "type"]) == "ClusterIP"
        && !ports.into_iter().flatten().any(|port| port.get("port") == behind.get("port"))
    {
        let port = behind.get("port").and_then(Value::as_i64).unwrap_or_default();
        let why = format!("service/{name} in {namespace:?} is not listening on port {port}");
        return (false, "ServicePortError", why);
    }
    (false, "FailedDiscoveryCheck", "requests are not passed on to other API servers yet".into())
}

/// The objects that there should be, by name.
fn wanted(table: &Table) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for kind in table.kinds().iter().filter(|kind| kind.group != API_SERVICES.group) {
        let (group, version) = (&*kind.group, &*kind.version);
        let built_in = kind.types.is_none();
        let version_priority = match (group, version) {
            ("", _) => 1,
            (_, "v2") if built_in => 30,
            _ if built_in => 15,
            _ => CUSTOM_VERSION,
        };
        let mut spec = json!({
            "version": version, "groupPriorityMinimum": group_priority(group), "versionPriority": version_priority,
        });
        if !group.is_empty() {
            spec["group"] = json!(group);
        }
        let name = format!("{version}.{group}");
        let managed = if built_in { "onstart" } else { "true" };
        let object = json!({"metadata": {"name": name, "labels": {MANAGED: managed}}, "spec": spec});
        found.insert(name, object);
    }
    found
}

#[cfg(test)]
mod tests;
