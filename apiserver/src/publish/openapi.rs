//! OpenAPI v3 and v2 documents of everything that is served, made from the table of kinds.
//!
//! Pure functions of the table; [`super::documents`] keeps what they make. The index names documents by a hash
//! of what they are made from, and clients fetch a document once for each hash.

use std::sync::Arc;

use api::VERSION;
use kinds::{kind::Kind, schema::facts};
use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::{aggregation::Remote, registry::Table};

/// The document's name of a group version: `api/v1` or `apis/apps/v1`.
pub fn document_name(kind: &Kind) -> String {
    if kind.group.is_empty() {
        format!("api/{}", kind.version)
    } else {
        format!("apis/{}/{}", kind.group, kind.version)
    }
}

/// `/openapi/v3`: the documents there are, our own with their hashes and those of others where they say.
pub fn index<'a>(
    own: impl Iterator<Item = (&'a str, &'a str)>,
    others: impl Iterator<Item = &'a Arc<Remote>>,
) -> Value {
    let url = |url: String| json!({"serverRelativeURL": url});
    let own = own.map(|(name, hash)| (name.to_owned(), url(format!("/openapi/v3/{name}?hash={hash}"))));
    let mut paths: Map<String, Value> = own.collect();
    for remote in others {
        let name = format!("apis/{}/{}", remote.group, remote.version);
        match remote.told.v3.clone() {
            Some(told) => drop(paths.insert(name, url(told))),
            None => drop(paths.remove(&name)),
        }
    }
    json!({"paths": paths})
}

/// A hash of the sources that the schemas of built-in kinds are made from, computed by `build.rs`: making all
/// documents to hash them takes as long as a client's whole request.
const SOURCES: &str = env!("SKIFF_OPENAPI_SOURCES");

/// A hash of what a document is made from.
pub fn hash(kinds: &[Arc<Kind>]) -> String {
    hash_with(SOURCES, kinds)
}

fn hash_with(sources: &str, kinds: &[Arc<Kind>]) -> String {
    let mut state = Sha256::new();
    state.update(format!("{VERSION} {sources}\n"));
    for kind in kinds {
        let Kind { group, version, kind: name, plural, namespaced, verbs, subresources, .. } = &**kind;
        state.update(format!("{:?}\n", (group, version, name, plural, namespaced, verbs, subresources)));
        if let Root { inline: Some(schema), .. } = root(kind, &mut generator(REFERENCES)) {
            state.update(schema.to_string());
        }
    }
    state.finalize().iter().take(16).map(|b| format!("{b:02X}")).collect()
}

/// The v3 document of the kinds of a group version.
pub fn v3(kinds: &[Arc<Kind>]) -> Value {
    let schemas = schemas(kinds, REFERENCES);
    let paths = paths(
        kinds,
        &|schema| json!({"content": {"application/json": {"schema": {"$ref": format!("#/components/schemas/{schema}")}}}}),
        false,
    );
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": VERSION},
        "paths": paths,
        "components": {"schemas": schemas},
    })
}

/// `/openapi/v2`: everything in one document; where others define what is defined here, that counts.
pub fn v2(table: &Table) -> Value {
    let own = table.kinds().iter().filter(|kind| table.remote(&kind.group, &kind.version).is_none());
    let kinds: &[Arc<Kind>] = &own.cloned().collect::<Vec<_>>();
    let mut definitions = schemas(kinds, "#/definitions/");
    for schema in definitions.values_mut() {
        open_to_clients(schema);
    }
    let mut paths =
        paths(kinds, &|schema| json!({"schema": {"$ref": format!("#/definitions/{schema}")}}), true);
    for told in table.remotes().map(|remote| &remote.told.v2) {
        for (all, more) in [(&mut paths, &told.paths), (&mut definitions, &told.definitions)] {
            for (name, part) in more {
                all.entry(name.clone()).or_insert_with(|| part.clone());
            }
        }
    }
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": VERSION},
        "paths": paths,
        "definitions": definitions,
    })
}

/// Leaves nothing of an object that keeps unknown fields but that it is one: `kubectl` refuses all fields but those that
/// it finds there.
fn open_to_clients(schema: &mut Value) {
    const KINDS: &str = "x-kubernetes-group-version-kind";
    if schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true))
        && let Some(kinds) = schema.get_mut(KINDS).map(Value::take)
    {
        *schema = json!({"type": "object", KINDS: kinds});
    }
}

/// Where v3 documents keep their schemas.
const REFERENCES: &str = "#/components/schemas/";

fn generator(prefix: &str) -> SchemaGenerator {
    let mut settings = SchemaSettings::openapi3();
    settings.definitions_path = prefix.trim_matches(['#', '/']).to_owned().into();
    settings.definitions_path.to_mut().insert(0, '/');
    SchemaGenerator::new(settings)
}

/// A kind's schema: its name, and the schema itself where it is not among the generator's definitions.
struct Root {
    name: String,
    inline: Option<Value>,
}

fn root(kind: &Kind, generator: &mut SchemaGenerator) -> Root {
    let schema = kind.rules.schema(generator).to_value();
    match schema.get("$ref").and_then(Value::as_str).and_then(|r| r.rsplit('/').next()) {
        Some(name) => Root { name: name.to_owned(), inline: None },
        None => {
            // Custom kinds: `com.example.v1.Widget`.
            let mut parts: Vec<&str> = kind.group.split('.').rev().collect();
            parts.extend([kind.version.as_ref(), kind.kind.as_ref()]);
            Root { name: parts.join("."), inline: Some(schema) }
        }
    }
}

/// The schemas of some kinds and all they refer to, with Kubernetes' extensions.
fn schemas(kinds: &[Arc<Kind>], prefix: &str) -> Map<String, Value> {
    let mut generator = generator(prefix);
    let mut all = Map::new();
    let mut roots = Vec::new();
    for kind in kinds {
        let Root { name, inline } = root(kind, &mut generator);
        all.insert(format!("{name}List"), list_schema(kind, prefix, &name, &mut generator));
        if let Some(schema) = inline {
            all.insert(name.clone(), schema);
        }
        roots.push((kind, name));
    }
    for (name, mut schema) in generator.take_definitions(true) {
        // Kubernetes' types let all metadata be missing; `k8s-openapi` has it always.
        if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
            required.retain(|field| field != "metadata");
            if required.is_empty()
                && let Some(schema) = schema.as_object_mut()
            {
                schema.remove("required");
            }
        }
        all.insert(name, schema);
    }
    for (kind, name) in roots {
        all[&name]["x-kubernetes-group-version-kind"] =
            json!([{"group": kind.group, "version": kind.version, "kind": kind.kind}]);
    }
    for (name, schema) in &mut all {
        extend(name, schema, prefix == REFERENCES);
    }
    all
}

const LIST_METADATA: &str = "Standard list metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";

fn list_schema(kind: &Kind, prefix: &str, name: &str, generator: &mut SchemaGenerator) -> Value {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
    let mut meta = generator.subschema_for::<ListMeta>().to_value();
    meta["description"] = LIST_METADATA.into();
    json!({
        "type": "object",
        "description": format!("{}List is a list of {}.", kind.kind, kind.plural),
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": meta,
            "items": {"type": "array", "items": {"$ref": format!("{prefix}{name}")}},
        },
        "required": ["items"],
        "x-kubernetes-group-version-kind": [
            {"group": kind.group, "version": kind.version, "kind": format!("{}List", kind.kind)}
        ],
    })
}

/// Adds to a schema what `k8s-openapi` leaves out: how lists and maps merge. `alone` says that references stand
/// alone, as OpenAPI 3.0 has it; clients of version 2 look for them beside the description.
fn extend(name: &str, schema: &mut Value, alone: bool) {
    let own = facts(name, "*");
    if !own.map_type.is_empty() {
        schema["x-kubernetes-map-type"] = json!(own.map_type);
    }
    for (field, property) in schema["properties"].as_object_mut().into_iter().flatten() {
        if alone
            && let Some(reference) = property.get("$ref").cloned()
            && let Some(object) = property.as_object_mut().filter(|o| o.len() > 1)
        {
            object.remove("$ref");
            object.insert("allOf".into(), json!([{"$ref": reference}]));
        }
        if !alone
            && let Some(reference) = property.pointer("/allOf/0/$ref").cloned()
            && let Some(object) = property.as_object_mut()
        {
            object.remove("allOf");
            object.insert("$ref".into(), reference);
        }
        let fact = facts(name, field);
        let keys: Vec<&str> = fact.keys.split(',').filter(|k| !k.is_empty()).collect();
        for (extension, value) in [
            ("x-kubernetes-list-type", fact.list_type),
            ("x-kubernetes-map-type", fact.map_type),
            ("x-kubernetes-patch-strategy", fact.patch_strategy),
            ("x-kubernetes-patch-merge-key", fact.merge_key),
        ] {
            if !value.is_empty() {
                property[extension] = json!(value);
            }
        }
        if !keys.is_empty() {
            property["x-kubernetes-list-map-keys"] = json!(keys);
        }
    }
    if schema.get("properties").is_some_and(Value::is_null)
        && let Some(object) = schema.as_object_mut()
    {
        object.remove("properties");
    }
}

/// A verb's HTTP method, upstream's name for the action, and the parameters of its query.
fn operation(verb: &str) -> Option<(&'static str, &'static str, &'static [&'static str])> {
    const LIST: &[&str] = &[
        "allowWatchBookmarks",
        "continue",
        "fieldSelector",
        "labelSelector",
        "limit",
        "resourceVersion",
        "resourceVersionMatch",
        "sendInitialEvents",
        "timeoutSeconds",
        "watch",
    ];
    const WRITE: &[&str] = &["dryRun", "fieldManager", "fieldValidation"];
    const PATCH: &[&str] = &["dryRun", "fieldManager", "fieldValidation", "force"];
    const DELETE: &[&str] = &["dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy"];
    Some(match verb {
        "get" => ("get", "get", &[]),
        "list" => ("get", "list", LIST),
        "create" => ("post", "post", WRITE),
        "update" => ("put", "put", WRITE),
        "patch" => ("patch", "patch", PATCH),
        "delete" => ("delete", "delete", DELETE),
        "deletecollection" => ("delete", "deletecollection", DELETE),
        _ => return None,
    })
}

fn parameter(name: &str, place: &str, swagger: bool) -> Value {
    let kind = match name {
        "allowWatchBookmarks" | "sendInitialEvents" | "watch" | "force" | "orphanDependents" => "boolean",
        "limit" | "timeoutSeconds" | "gracePeriodSeconds" => "integer",
        _ => "string",
    };
    let mut parameter = json!({"name": name, "in": place});
    if swagger {
        parameter["type"] = json!(kind);
        parameter["uniqueItems"] = json!(true);
    } else {
        parameter["schema"] = json!({"type": kind, "uniqueItems": true});
    }
    if place == "path" {
        parameter["required"] = json!(true);
    }
    parameter
}

/// The paths of some kinds; `answer` describes an answer that carries the schema of a name.
fn paths(kinds: &[Arc<Kind>], answer: &dyn Fn(&str) -> Value, swagger: bool) -> Map<String, Value> {
    let mut paths = Map::new();
    for kind in kinds {
        let base = format!("/{}/", document_name(kind));
        let scoped = if kind.namespaced { format!("{base}namespaces/{{namespace}}/") } else { base.clone() };
        let collection = format!("{scoped}{}", kind.plural);
        let Root { name, .. } = root(kind, &mut generator(REFERENCES));
        let mut add = |path: String, verb: &str, gvk: Value, schema: &str| {
            let Some((method, action, query)) = operation(verb) else { return };
            let mut described = answer(schema);
            described["description"] = json!("OK");
            let mut parameters: Vec<Value> = query.iter().map(|p| parameter(p, "query", swagger)).collect();
            parameters.extend(
                ["namespace", "name"]
                    .iter()
                    .filter(|p| path.contains(&format!("{{{p}}}")))
                    .map(|p| parameter(p, "path", swagger)),
            );
            paths.entry(path).or_insert_with(|| json!({}))[method] = json!({
                "operationId": "",
                "parameters": parameters,
                "responses": {"200": described},
                "x-kubernetes-action": action,
                "x-kubernetes-group-version-kind": gvk,
            });
        };
        let gvk = json!({"group": kind.group, "version": kind.version, "kind": kind.kind});
        for verb in kind.verbs {
            let of_collection = matches!(*verb, "list" | "create" | "deletecollection");
            let path = if of_collection { collection.clone() } else { format!("{collection}/{{name}}") };
            let schema = if *verb == "list" { format!("{name}List") } else { name.clone() };
            add(path, verb, gvk.clone(), &schema);
        }
        if kind.namespaced && kind.verbs.contains(&"list") {
            add(format!("{base}{}", kind.plural), "list", gvk.clone(), &format!("{name}List"));
        }
        for sub in &kind.subresources {
            let gvk = sub.gvk.map_or(gvk.clone(), |(g, v, k)| json!({"group": g, "version": v, "kind": k}));
            for verb in sub.verbs {
                add(format!("{collection}/{{name}}/{}", sub.name), verb, gvk.clone(), &name);
            }
        }
    }
    // Operation ids must differ: the method and the path make one.
    for (path, item) in &mut paths {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            let words: String = path
                .chars()
                .filter(|c| !matches!(c, '{' | '}'))
                .map(|c| if c.is_alphanumeric() { c } else { '_' })
                .collect();
            operation["operationId"] = json!(format!("{method}{words}"));
        }
    }
    paths
}

#[cfg(test)]
mod tests;
