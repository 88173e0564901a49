//! The APIService objects of what this server serves itself: one for each group version, always available.
//!
//! Level-triggered: whenever the table of kinds or these objects change, what is missing is made, and what this
//! server made for a version that is gone is removed. Upstream counterpart: the autoregister controller of
//! kube-aggregator.

use std::{collections::BTreeMap, sync::Arc};

use api::{kinds::api_service::group_priority, status::Status};
use serde_json::{Value, json};

use super::Left;
use crate::{
    Api, custom,
    registry::Table,
    verbs::{Ctx, create, delete, store_failed},
    watch_cache::Scope,
};

const GROUP: &str = "apiregistration.k8s.io";
const API_SERVICES: (&str, &str, &str) = (GROUP, "v1", "apiservices");
const PREFIX: &str = "/registry/apiregistration.k8s.io/apiservices/";
/// Marks objects that come and go with the group version.
const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";
/// What changes them, and what changes the table of kinds.
pub const FOLLOWED: &[&str] = &[PREFIX, custom::PREFIX];
const CUSTOM_VERSION: i32 = 100;

/// Makes what is missing and removes what is too much.
pub async fn look(api: Arc<Api>) -> Result<Left, Status> {
    api.cache.fresh().await.map_err(store_failed)?;
    let Some(resource) = api.cache.resource(PREFIX) else { return Ok(Left::Nothing) };
    let wanted = wanted(&api.table());
    for (name, object) in &wanted {
        if resource.get(name).is_none() {
            create::ensure(&api, API_SERVICES, None, object.clone()).await?;
        }
    }
    for object in resource.snapshot().objects.scan(&Scope::All, None) {
        if object.label(MANAGED) == Some("true") && !wanted.contains_key(object.name()) {
            let ctx = Ctx::internal(&api, API_SERVICES, None, Some(object.name()))?;
            match delete::delete_object(&ctx, object.name(), &delete::DeleteOptions::default()).await {
                Err(status) if status.code != 404 => return Err(status),
                _ => {}
            }
        }
    }
    Ok(Left::Nothing)
}

/// The objects that there should be, by name.
fn wanted(table: &Table) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for kind in table.kinds().iter().filter(|kind| kind.group != GROUP) {
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
mod tests {
    use super::*;
    use crate::registry::Registry;

    #[test]
    fn every_group_version_has_one() {
        let all = wanted(&Registry::builtin().table());
        assert_eq!(
            all["v1."]["spec"],
            json!({"version": "v1", "groupPriorityMinimum": 18_000, "versionPriority": 1})
        );
        assert_eq!(all["v2.autoscaling"]["spec"]["versionPriority"], 30);
        assert_eq!(all["v1.apps"]["metadata"]["labels"][MANAGED], "onstart");
        assert!(!all.contains_key("v1.apiregistration.k8s.io"));
    }
}
