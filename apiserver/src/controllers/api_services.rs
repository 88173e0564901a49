//! The APIService objects of what this server serves itself: one for each group version, always available.
//!
//! Level-triggered: whenever the table of kinds or these objects change, what is missing is made, and what this
//! server made for a version that is gone is removed. Upstream counterparts: the autoregister and the local availability
//! controller of kube-aggregator.

use std::{collections::BTreeMap, sync::Arc};

use api::status::Status;
use kinds::builtin::api_service::{group_priority, version_priority};
use serde_json::{Value, json};

use super::{Left, remotes::MANAGER, statuses::tell};
use crate::{
    Api,
    context::Ctx,
    registry::Table,
    resources::{API_SERVICES, BuiltIn, CUSTOM_RESOURCE_DEFINITIONS},
    strategies::api_service,
    verbs::{create, delete},
    watch_cache::Scope,
};

/// Marks objects that come and go with the group version.
const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";
/// What changes them, and what changes the table of kinds.
pub const FOLLOWED: [BuiltIn; 2] = [API_SERVICES, CUSTOM_RESOURCE_DEFINITIONS];

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
            match delete::delete_object(&ctx, object.name(), &delete::DeleteOptions::default(), true).await {
                Err(status) if status.code != 404 => return Err(status),
                _ => {}
            }
        }
    }
    tell(&api, API_SERVICES, MANAGER, |service| {
        let mut told = service.clone();
        api_service::tell(&mut told);
        told
    })
    .await?;
    Ok(Left::Nothing)
}

/// The objects that there should be, by name.
fn wanted(table: &Table) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for kind in table.kinds().iter().filter(|kind| kind.group != API_SERVICES.group) {
        let (group, version) = (&*kind.group, &*kind.version);
        let built_in = kind.types.is_none();
        let mut spec = json!({
            "version": version,
            "groupPriorityMinimum": group_priority(group),
            "versionPriority": version_priority(kind),
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
