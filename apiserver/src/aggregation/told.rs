//! What another server tells of itself, as far as it is told on: the resources of its group version, and their part of
//! the OpenAPI documents. Nothing of it is believed beyond that group version.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIResource, APIResourceList};
use serde_json::{Map, Value, json};

/// What a server told.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Told {
    /// The resources in the aggregated form of discovery; nothing when it told of none that could be read.
    pub resources: Option<Vec<Value>>,
    /// Where its OpenAPI v3 document is, with the hash of what it holds.
    pub v3: Option<String>,
    /// Its part of the OpenAPI v2 document.
    pub v2: V2,
}

/// Part of an OpenAPI v2 document.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct V2 {
    /// Paths of the group version.
    pub paths: Map<String, Value>,
    /// The definitions that they refer to.
    pub definitions: Map<String, Value>,
}

/// Reads the resources of a group version from its plain discovery document.
pub fn resources(document: &[u8]) -> Option<Vec<Value>> {
    let list: APIResourceList = serde_json::from_slice(document).ok()?;
    if list.resources.iter().any(|resource| resource.name.is_empty()) {
        return None;
    }
    let (subresources, resources): (Vec<_>, Vec<_>) =
        list.resources.iter().partition(|resource| resource.name.contains('/'));
    let kind = |resource: &APIResource| json!({"group": resource.group.as_deref().unwrap_or_default(), "version": resource.version.as_deref().unwrap_or_default(), "kind": resource.kind});
    let told = resources.into_iter().map(|resource| {
        let mut entry = json!({
            "resource": resource.name,
            "responseKind": kind(resource),
            "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
            "singularResource": resource.singular_name,
            "verbs": resource.verbs,
        });
        for (field, names) in [("shortNames", &resource.short_names), ("categories", &resource.categories)] {
            if let Some(names) = names {
                entry[field] = json!(names);
            }
        }
        let own = subresources.iter().filter_map(|sub| Some((sub, sub.name.split_once('/')?)));
        let own = own.filter(|(_, (of, _))| *of == resource.name);
        let own: Vec<_> = own
            .map(|(sub, (_, name))| json!({"subresource": name, "responseKind": kind(sub), "verbs": sub.verbs}))
            .collect();
        if !own.is_empty() {
            entry["subresources"] = own.into();
        }
        entry
    });
    Some(told.collect())
}

/// The OpenAPI v3 document of a group version that an index names.
pub fn v3(index: &[u8], group: &str, version: &str) -> Option<String> {
    let index: Value = serde_json::from_slice(index).ok()?;
    let name = format!("apis/{group}/{version}");
    let url = index.get("paths")?.get(&name)?.get("serverRelativeURL")?.as_str()?;
    let query = url.strip_prefix(&format!("/openapi/v3/{name}"))?;
    (query.is_empty() || query.starts_with('?')).then(|| url.to_owned())
}

/// What an OpenAPI v2 document says of a group version.
pub fn v2(document: &[u8], group: &str, version: &str) -> Option<V2> {
    let Value::Object(mut document) = serde_json::from_slice(document).ok()? else { return None };
    let Some(Value::Object(mut paths)) = document.remove("paths") else { return None };
    let Some(Value::Object(mut all)) = document.remove("definitions") else { return None };
    let prefix = format!("/apis/{group}/{version}/");
    paths.retain(|path, _| path.starts_with(&prefix));
    let mut wanted = BTreeSet::new();
    paths.values().for_each(|path| references(path, &mut wanted));
    let mut definitions = Map::new();
    while let Some(name) = wanted.pop_first() {
        let Some(mut definition) = all.remove(&name) else { continue };
        references(&definition, &mut wanted);
        // Of kinds of other groups, others tell.
        if let Some(Value::Array(kinds)) = definition.get_mut("x-kubernetes-group-version-kind") {
            kinds.retain(|kind| kind["group"] == group);
        }
        definitions.insert(name, definition);
    }
    Some(V2 { paths, definitions })
}

/// Adds the names of the definitions that a part of a document refers to.
fn references(part: &Value, found: &mut BTreeSet<String>) {
    match part {
        Value::Object(fields) => {
            for (field, value) in fields {
                match value.as_str().and_then(|text| text.strip_prefix("#/definitions/")) {
                    Some(name) if field == "$ref" => drop(found.insert(name.to_owned())),
                    _ => references(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
