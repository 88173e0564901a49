//! Discovery: which groups, versions and resources there are, in the plain and the aggregated form.
//!
//! Pure functions of the table of kinds, and of what other servers told of theirs. The aggregated form (KEP-3352) tells
//! everything in two answers with an ETag, so that clients fetch it once.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use kinds::{
    builtin::api_service::{group_priority, version_priority},
    kind::{Kind, Subresource, version::stability},
};
use serde_json::{Map, Value, json};

use crate::registry::Table;

/// `/api`
pub fn core_versions(server: &str) -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": server}],
    })
}

/// The groups of the table (the core group left out) with their versions, by their priority.
fn group_versions(table: &Table) -> Vec<(&str, Vec<&str>)> {
    let own = table.kinds().iter().filter(|kind| !kind.group.is_empty());
    let own = own.map(|kind| {
        let (group, version) = (kind.group.as_ref(), kind.version.as_ref());
        (group, version, group_priority(group), version_priority(kind))
    });
    let others = table.remotes().map(|remote| {
        (remote.group.as_str(), remote.version.as_str(), remote.group_priority, remote.version_priority)
    });
    let mut groups: BTreeMap<&str, (i32, BTreeMap<&str, i32>)> = BTreeMap::new();
    for (group, version, of_group, of_version) in own.chain(others) {
        let (priority, versions) = groups.entry(group).or_default();
        *priority = of_group.max(*priority);
        versions.insert(version, of_version);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, (priority, _))| Reverse(*priority));
    let sorted = groups.into_iter().map(|(group, (_, versions))| {
        let mut versions: Vec<_> = versions.into_iter().collect();
        versions.sort_by_key(|(version, priority)| Reverse((*priority, stability(version))));
        (group, versions.into_iter().map(|(version, _)| version).collect())
    });
    sorted.collect()
}

fn group_object(group: &str, versions: &[&str]) -> Value {
    let version = |v: &str| json!({"groupVersion": format!("{group}/{v}"), "version": v});
    json!({
        "name": group,
        "versions": versions.iter().map(|v| version(v)).collect::<Vec<_>>(),
        "preferredVersion": version(versions.first().copied().unwrap_or_default()),
    })
}

/// `/apis`
pub fn groups(table: &Table) -> Value {
    let groups: Vec<Value> = group_versions(table).iter().map(|(g, v)| group_object(g, v)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/<group>`; `None` when it is not served.
pub fn group(table: &Table, wanted: &str) -> Option<Value> {
    let all = group_versions(table);
    let (group, versions) = all.iter().find(|(g, _)| *g == wanted)?;
    let mut object = group_object(group, versions);
    object["kind"] = json!("APIGroup");
    object["apiVersion"] = json!("v1");
    Some(object)
}

fn in_version<'a>(table: &'a Table, group: &str, version: &str) -> Vec<&'a Arc<Kind>> {
    let mut found: Vec<_> =
        table.kinds().iter().filter(|k| k.group == group && k.version == version).collect();
    found.sort_by(|a, b| a.plural.cmp(&b.plural));
    found
}

fn sorted(kind: &Kind) -> Vec<&Subresource> {
    let mut all: Vec<_> = kind.subresources.iter().collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// `/api/v1` and `/apis/<group>/<version>`; `None` when it is not served.
pub fn resources(table: &Table, group: &str, version: &str) -> Option<Value> {
    let found = in_version(table, group, version);
    let api_version = found.first()?.api_version();
    let mut resources = Vec::new();
    for kind in found {
        let mut entry = json!({
            "name": kind.plural,
            "singularName": kind.singular,
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": kind.verbs,
        });
        if !kind.short_names.is_empty() {
            entry["shortNames"] = json!(kind.short_names);
        }
        if !kind.categories.is_empty() {
            entry["categories"] = json!(kind.categories);
        }
        resources.push(entry);
        for sub in sorted(kind) {
            let mut entry = json!({
                "name": format!("{}/{}", kind.plural, sub.name),
                "singularName": "",
                "namespaced": kind.namespaced,
                "kind": kind.kind,
                "verbs": sub.verbs,
            });
            if let Some((group, version, name)) = sub.gvk {
                entry["kind"] = json!(name);
                if (group, version) != (kind.group.as_ref(), kind.version.as_ref()) {
                    entry["group"] = json!(group);
                    entry["version"] = json!(version);
                }
            }
            resources.push(entry);
        }
    }
    Some(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": api_version,
        "resources": resources,
    }))
}

/// The aggregated form of `/api` (the core group) or of `/apis` (all others).
pub fn aggregated(table: &Table, core: bool) -> Value {
    let groups = if core { vec![("", vec!["v1"])] } else { group_versions(table) };
    let items: Vec<Value> = groups
        .iter()
        .map(|(group, versions)| {
            let versions: Vec<Value> =
                versions.iter().map(|version| aggregated_version(table, group, version)).collect();
            let mut metadata = Map::new();
            if !group.is_empty() {
                metadata.insert("name".into(), json!(group));
            }
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    })
}

/// What a group version has; of one that another server has, what that told while it answers.
fn aggregated_version(table: &Table, group: &str, version: &str) -> Value {
    let resources = match table.remote(group, version) {
        Some(remote) => remote.told.resources.clone().filter(|_| remote.available),
        None => Some(
            in_version(table, group, version).into_iter().map(|kind| aggregated_resource(kind)).collect(),
        ),
    };
    let freshness = if resources.is_some() { "Current" } else { "Stale" };
    json!({"version": version, "freshness": freshness, "resources": resources.unwrap_or_default()})
}

fn aggregated_resource(kind: &Kind) -> Value {
    let response_kind = |gvk: Option<(&str, &str, &str)>| {
        let own = ("", "", kind.kind.as_ref());
        let (group, version, name) =
            gvk.map(|(g, v, k)| {
                if (g, v) == (kind.group.as_ref(), kind.version.as_ref()) { ("", "", k) } else { (g, v, k) }
            })
            .unwrap_or(own);
        json!({"group": group, "version": version, "kind": name})
    };
    let mut entry = json!({
        "resource": kind.plural,
        "responseKind": response_kind(None),
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular,
        "verbs": kind.verbs,
    });
    if !kind.short_names.is_empty() {
        entry["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        entry["categories"] = json!(kind.categories);
    }
    let subresources: Vec<Value> = sorted(kind)
        .into_iter()
        .map(|sub| {
            json!({
                "subresource": sub.name,
                "responseKind": response_kind(sub.gvk),
                "verbs": sub.verbs,
            })
        })
        .collect();
    if !subresources.is_empty() {
        entry["subresources"] = subresources.into();
    }
    entry
}

#[cfg(test)]
mod tests;
