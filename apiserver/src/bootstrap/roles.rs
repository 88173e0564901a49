//! The roles and bindings that every cluster has, brought up to date at each start: what is missing is added, nothing is
//! taken away, and what says that it is not to be updated is left alone. Counterpart of upstream's
//! `plugin/pkg/auth/authorizer/rbac/bootstrappolicy` and `component-helpers/auth/rbac/reconciliation`.

use std::sync::Arc;

use api::{object::ObjectExt as _, status::Status};
use futures::future::try_join_all;
use k8s_openapi::api::rbac::v1::PolicyRule;
use kinds::kind::Part;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    Api,
    auth::authorize::rules,
    body::yaml,
    context::Ctx,
    forms::value,
    registry::Table,
    resources::{BuiltIn, CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, CLUSTER_TRUST_BUNDLES, ROLE_BINDINGS, ROLES},
    verbs::{
        create::ensure,
        delete::{self, DeleteOptions, Preconditions},
        update::{self, Expected},
    },
};

const ROWS: &str = include_str!("roles.yaml");
const GROUP: &str = "rbac.authorization.k8s.io";
const AUTO_UPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// A row of the table.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Row {
    name: String,
    namespace: Option<String>,
    part_of: Option<String>,
    #[serde(default)]
    aggregated: bool,
    binding: Option<String>,
    /// Each as `KIND NAME`, service accounts as `ServiceAccount NAMESPACE/NAME`.
    subjects: Option<Vec<String>>,
    #[serde(default)]
    rules: Vec<PolicyRule>,
    union_of: Option<String>,
}

fn rows(table: &Table) -> Result<Vec<Row>, Status> {
    let read = yaml::read(ROWS.as_bytes()).map_err(Status::internal)?;
    let mut rows: Vec<Row> = serde_json::from_value(read.value).map_err(Status::internal)?;
    if CLUSTER_TRUST_BUNDLES.row(table).is_err() {
        let only = [CLUSTER_TRUST_BUNDLES.plural.to_owned()];
        rows.iter_mut().for_each(|row| row.rules.retain(|rule| rule.resources.as_deref() != Some(&only)));
        rows.retain(|row| row.aggregated || row.union_of.is_some() || !row.rules.is_empty());
    }
    for at in 0..rows.len() {
        let (above, rest) = rows.split_at_mut(at);
        let Some(prefix) = &rest[0].union_of else { continue };
        let all = above.iter().filter(|row| row.name.starts_with(prefix)).flat_map(|row| &row.rules);
        for rule in all {
            if !rest[0].rules.contains(rule) {
                rest[0].rules.push(rule.clone());
            }
        }
    }
    Ok(rows)
}

fn aggregates_to(role: &str) -> String {
    format!("{GROUP}/aggregate-to-{role}")
}

impl Row {
    fn object(&self, name: &str) -> Value {
        let mut object = json!({"metadata": {
            "name": name,
            "annotations": {AUTO_UPDATE: "true"},
            "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        }});
        if let Some(namespace) = &self.namespace {
            object.set_meta("namespace", namespace.as_str());
        }
        object
    }

    fn role(&self) -> (BuiltIn, Value) {
        let mut role = self.object(&self.name);
        role["rules"] = json!(self.rules);
        if let Some(whole) = &self.part_of {
            role["metadata"]["labels"][aggregates_to(whole)] = json!("true");
        }
        if self.aggregated {
            let selector = json!({"matchLabels": {aggregates_to(&self.name): "true"}});
            role["aggregationRule"] = json!({"clusterRoleSelectors": [selector]});
        }
        (if self.namespace.is_some() { ROLES } else { CLUSTER_ROLES }, role)
    }

    fn bound(&self) -> Option<(BuiltIn, Value)> {
        let subject = |told: &String| {
            let (kind, name) = told.split_once(' ')?;
            Some(match name.split_once('/').filter(|_| kind == "ServiceAccount") {
                Some((namespace, name)) => json!({"kind": kind, "name": name, "namespace": namespace}),
                None => json!({"apiGroup": GROUP, "kind": kind, "name": name}),
            })
        };
        let subjects: Vec<Value> = self.subjects.as_ref()?.iter().filter_map(subject).collect();
        let mut binding = self.object(self.binding.as_ref().unwrap_or(&self.name));
        let kind = if self.namespace.is_some() { "Role" } else { "ClusterRole" };
        binding["roleRef"] = json!({"apiGroup": GROUP, "kind": kind, "name": self.name});
        if !subjects.is_empty() {
            binding["subjects"] = subjects.into();
        }
        Some((if self.namespace.is_some() { ROLE_BINDINGS } else { CLUSTER_ROLE_BINDINGS }, binding))
    }
}

/// All of them that are about what the table has.
///
/// # Errors
/// Never, with the table that a test reads.
pub fn objects(table: &Table) -> Result<Vec<(BuiltIn, Value)>, Status> {
    Ok(rows(table)?.iter().flat_map(|row| [Some(row.role()), row.bound()]).flatten().collect())
}

/// The rules that a role has from the start.
///
/// # Errors
/// As [`objects`].
pub fn rules(table: &Table, role: &str) -> Result<Vec<PolicyRule>, Status> {
    Ok(rows(table)?.into_iter().find(|row| row.name == role).map(|row| row.rules).unwrap_or_default())
}

/// Brings them up to date.
///
/// # Errors
/// When the store does not answer, or an object is refused.
pub async fn reconcile(api: &Arc<Api>) -> Result<(), Status> {
    try_join_all(objects(&api.table())?.into_iter().map(|(resource, wanted)| one(api, resource, wanted)))
        .await
        .map(drop)
}

async fn one(api: &Arc<Api>, resource: BuiltIn, wanted: Value) -> Result<(), Status> {
    let Some(found) = api.cached(resource, &wanted.key()) else { return ensure(api, resource, wanted).await };
    let found = value(&found)?;
    if found.at(&["metadata", "annotations", AUTO_UPDATE]).is_some_and(|update| update == "false") {
        return Ok(());
    }
    let namespace = Some(wanted.namespace()).filter(|namespace| !namespace.is_empty());
    let ctx = Ctx::internal(api, resource, namespace, Some(wanted.name()))?;
    if found["roleRef"] != wanted["roleRef"] {
        // A binding never changes its role.
        let preconditions = Preconditions { uid: Some(found.uid().to_owned()), ..Preconditions::default() };
        let options = DeleteOptions { preconditions: Some(preconditions), ..DeleteOptions::default() };
        delete::delete_object(&ctx, wanted.name(), &options, true).await?;
        api.cache.fresh().await?;
        return ensure(api, resource, wanted).await;
    }
    let mut next = found.clone();
    merge(&mut next, &wanted);
    if next == found {
        return Ok(());
    }
    tracing::info!(resource = resource.plural, name = wanted.name(), "bootstrap roles were incomplete");
    update::edit(&ctx, Part::Main, Expected::default(), |object| merge(object, &wanted)).await.map(drop)
}

/// Adds what is missing in an object.
fn merge(object: &mut Value, wanted: &Value) {
    for field in ["annotations", "labels"] {
        let all = wanted["metadata"][field].as_object().cloned().unwrap_or_default();
        let mut merged: Map<String, Value> = all;
        merged.extend(object["metadata"][field].as_object().cloned().unwrap_or_default());
        object["metadata"][field] = merged.into();
    }
    add(object, wanted, "subjects");
    let read = |role: &Value| serde_json::from_value::<Option<Vec<PolicyRule>>>(role["rules"].clone());
    if let (Ok(Some(wanted)), Ok(owned)) = (read(wanted), read(object)) {
        let owned = owned.unwrap_or_default();
        let held: Vec<&PolicyRule> = owned.iter().collect();
        let missing = rules::missing(&held, &wanted).map(|missing| rules::as_rules(&missing));
        // What is too much to be compared has been added to by others, who keep it.
        let missing = missing.unwrap_or_default();
        if !missing.is_empty() {
            object["rules"] = owned.into_iter().chain(missing).map(|rule| json!(rule)).collect();
        }
    }
    if wanted["aggregationRule"].is_object() {
        let mut rule = object["aggregationRule"].take();
        add(&mut rule, &wanted["aggregationRule"], "clusterRoleSelectors");
        object["aggregationRule"] = rule;
    } else if let Some(role) = object.as_object_mut() {
        role.remove("aggregationRule");
    }
}

/// Adds the entries of a list that are missing.
fn add(object: &mut Value, wanted: &Value, list: &str) {
    for entry in wanted.list_at(&[list]) {
        if !object.list_at(&[list]).contains(entry) {
            let mut all = object.list_at(&[list]).to_vec();
            all.push(entry.clone());
            object[list] = all.into();
        }
    }
}

#[cfg(test)]
mod tests;
