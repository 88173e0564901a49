//! OpenAPI v3 and v2 documents of everything that is served, made from the table of kinds.
//!
//! Pure functions of the table; [`super::documents`] keeps what they make. The index names documents by a hash
//! of what they are made from, and clients fetch a document once for each hash.

use std::sync::Arc;

use api::VERSION;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ListMeta};
use kinds::{
    kind::{Kind, Subresource},
    schema::{Tag, facts, tag},
};
use schemars::{Schema, SchemaGenerator, generate::SchemaSettings};
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
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": VERSION},
        "paths": paths(kinds, REFERENCES),
        "components": {"schemas": schemas(kinds, REFERENCES)},
    })
}

/// `/openapi/v2`: everything in one document; where others define what is defined here, that counts.
pub fn v2(table: &Table) -> Value {
    let own = table.kinds().iter().filter(|kind| table.remote(&kind.group, &kind.version).is_none());
    let kinds: &[Arc<Kind>] = &own.cloned().collect::<Vec<_>>();
    let mut definitions = schemas(kinds, DEFINITIONS);
    for schema in definitions.values_mut() {
        open_to_clients(schema);
    }
    let mut paths = paths(kinds, DEFINITIONS);
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

/// Where the v2 document keeps its schemas.
const DEFINITIONS: &str = "#/definitions/";

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

/// The name of the schema that another only refers to.
fn referred(schema: &Schema) -> Option<String> {
    Some(schema.get("$ref")?.as_str()?.rsplit('/').next()?.to_owned())
}

fn root(kind: &Kind, generator: &mut SchemaGenerator) -> Root {
    let schema = kind.rules.schema(generator);
    match referred(&schema) {
        Some(name) => Root { name, inline: None },
        None => {
            // Custom kinds: `com.example.v1.Widget`.
            let mut parts: Vec<&str> = kind.group.split('.').rev().collect();
            parts.extend([kind.version.as_ref(), kind.kind.as_ref()]);
            Root { name: parts.join("."), inline: Some(schema.to_value()) }
        }
    }
}

/// The schema of what a subresource carries, where that is a kind of its own.
fn carried(sub: &Subresource, generator: &mut SchemaGenerator) -> Option<Schema> {
    use k8s_openapi::api::{authentication, autoscaling, core, policy};
    Some(match sub.gvk?.2 {
        "Binding" => generator.subschema_for::<core::v1::Binding>(),
        "Eviction" => generator.subschema_for::<policy::v1::Eviction>(),
        "Scale" => generator.subschema_for::<autoscaling::v1::Scale>(),
        "TokenRequest" => generator.subschema_for::<authentication::v1::TokenRequest>(),
        _ => return None,
    })
}

/// What comes with a patch; its media type says what it is.
const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
/// What may come with a request to delete.
const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";

/// The schemas of some kinds and all they refer to, with Kubernetes' extensions.
fn schemas(kinds: &[Arc<Kind>], prefix: &str) -> Map<String, Value> {
    let mut generator = generator(prefix);
    let patch = "Patch is provided to give a concrete name and type to the Kubernetes PATCH request body.";
    let mut all = Map::from_iter([(PATCH.to_owned(), json!({"type": "object", "description": patch}))]);
    let mut roots = Vec::new();
    generator.subschema_for::<DeleteOptions>();
    for kind in kinds {
        kind.subresources.iter().for_each(|sub| drop(carried(sub, &mut generator)));
        let Root { name, inline } = root(kind, &mut generator);
        all.insert(format!("{name}List"), list_schema(kind, prefix, &name, &mut generator));
        if let Some(schema) = inline {
            all.insert(name.clone(), schema);
        }
        roots.push((kind, name));
    }
    for (name, mut schema) in generator.take_definitions(true) {
        // Kubernetes' types let all metadata and what is left out when empty be missing; `k8s-openapi` has them always.
        if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
            let omitted = |field: &str| tag(&name, field) == Some(Tag::OmittedEmpty);
            required.retain(|field| field != "metadata" && !field.as_str().is_some_and(omitted));
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

/// Adds to a schema what `k8s-openapi` leaves out: how lists and maps merge, and the values there are. `alone` says that
/// references stand alone, as OpenAPI 3.0 has it; clients of version 2 look for them beside the description.
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
        if !fact.values.is_empty() {
            let of = if property["type"] == "array" { &mut property["items"] } else { property };
            of["enum"] = fact.values.split(',').collect();
        }
    }
    if schema.get("properties").is_some_and(Value::is_null)
        && let Some(object) = schema.as_object_mut()
    {
        object.remove("properties");
    }
}

/// What OpenAPI says of a verb.
struct Operation {
    method: &'static str,
    /// Upstream's name for the action.
    action: &'static str,
    /// What its id begins with.
    word: &'static str,
    /// The schema of the request's body and whether there must be one; empty: the one of the answer.
    body: Option<(&'static str, bool)>,
    codes: &'static [(&'static str, &'static str)],
    query: &'static [&'static str],
}

fn operation(verb: &str) -> Option<Operation> {
    const OK: (&str, &str) = ("200", "OK");
    const CREATED: (&str, &str) = ("201", "Created");
    const ACCEPTED: (&str, &str) = ("202", "Accepted");
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
    const FORCE: &[&str] = &["dryRun", "fieldManager", "fieldValidation", "force"];
    const DELETE: &[&str] = &["dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy"];
    let (method, action, word, body, codes, query): (_, _, _, _, &'static [_], &'static [_]) = match verb {
        "get" => ("get", "get", "read", None, &[OK], &[]),
        "list" => ("get", "list", "list", None, &[OK], LIST),
        "create" => ("post", "post", "create", Some(("", true)), &[OK, CREATED, ACCEPTED], WRITE),
        "update" => ("put", "put", "replace", Some(("", true)), &[OK, CREATED], WRITE),
        "patch" => ("patch", "patch", "patch", Some((PATCH, true)), &[OK, CREATED], FORCE),
        "delete" => ("delete", "delete", "delete", Some((DELETE_OPTIONS, false)), &[OK, ACCEPTED], DELETE),
        "deletecollection" => {
            ("delete", "deletecollection", "delete", Some((DELETE_OPTIONS, false)), &[OK], DELETE)
        }
        _ => return None,
    };
    Some(Operation { method, action, word, body, codes, query })
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

/// `FlowcontrolApiserver` of a group, as operation ids have it.
fn group_words(group: &str) -> String {
    let group = if group.is_empty() { "core" } else { group.strip_suffix(".k8s.io").unwrap_or(group) };
    group.split(|c: char| !c.is_ascii_alphanumeric()).map(title).collect()
}

fn title(word: &str) -> String {
    word.get(..1).map(|first| first.to_ascii_uppercase() + &word[1..]).unwrap_or_default()
}

/// What a request or an answer carries.
#[derive(Clone)]
struct Carried {
    gvk: Value,
    /// The schema's name; none where it is a stream.
    schema: Option<String>,
}

/// The paths of some kinds, whose schemas are at `prefix`.
fn paths(kinds: &[Arc<Kind>], prefix: &str) -> Map<String, Value> {
    let mut paths = Map::new();
    for kind in kinds {
        let base = format!("/{}/", document_name(kind));
        let scoped = if kind.namespaced { format!("{base}namespaces/{{namespace}}/") } else { base.clone() };
        let collection = format!("{scoped}{}", kind.plural);
        let Root { name, inline } = root(kind, &mut generator(prefix));
        let mut add = |path: String, verb: &str, subject: &str, carried: Carried| {
            if let Some((method, described)) =
                describe(kind, inline.is_none(), &path, verb, subject, carried, prefix)
            {
                paths.entry(path).or_insert_with(|| json!({}))[method] = described;
            }
        };
        let gvk = json!({"group": kind.group, "version": kind.version, "kind": kind.kind});
        let one = Carried { gvk, schema: Some(name.clone()) };
        let many = Carried { schema: Some(format!("{name}List")), ..one.clone() };
        let subject = format!("{}{}", if kind.namespaced { "Namespaced" } else { "" }, kind.kind);
        for verb in kind.verbs {
            let (path, carried) = match *verb {
                "list" => (collection.clone(), &many),
                "create" | "deletecollection" => (collection.clone(), &one),
                _ => (format!("{collection}/{{name}}"), &one),
            };
            let of = if *verb == "deletecollection" { "Collection" } else { "" };
            add(path, verb, &format!("{of}{subject}"), carried.clone());
        }
        if kind.namespaced && kind.verbs.contains(&"list") {
            let subject = format!("{}ForAllNamespaces", kind.kind);
            add(format!("{base}{}", kind.plural), "list", &subject, many);
        }
        for sub in &kind.subresources {
            let carried = sub.gvk.map_or(one.clone(), |(group, version, kind)| Carried {
                gvk: json!({"group": group, "version": version, "kind": kind}),
                schema: carried(sub, &mut generator(prefix)).as_ref().and_then(referred),
            });
            for verb in sub.verbs {
                let subject = format!("{subject}{}", title(&sub.name));
                add(format!("{collection}/{{name}}/{}", sub.name), verb, &subject, carried.clone());
            }
        }
    }
    paths
}

/// The method and the description of one verb at a path.
fn describe(
    kind: &Kind,
    built_in: bool,
    path: &str,
    verb: &str,
    subject: &str,
    carried: Carried,
    prefix: &str,
) -> Option<(&'static str, Value)> {
    let swagger = prefix == DEFINITIONS;
    let Operation { method, mut action, mut word, mut body, codes, mut query } = operation(verb)?;
    let group = group_words(&kind.group);
    let mut subject = subject.to_owned();
    let refer = |name: &str| json!({"$ref": format!("{prefix}{name}")});
    let schema = match &carried.schema {
        Some(name) => refer(name),
        None => {
            subject.insert_str(0, &title(method));
            (action, word, body, query) = ("connect", "connect", None, &[]);
            json!({"type": "string"})
        }
    };
    let mut parameters: Vec<Value> = query.iter().map(|p| parameter(p, "query", swagger)).collect();
    let in_path = ["namespace", "name"].into_iter().filter(|p| path.contains(&format!("{{{p}}}")));
    parameters.extend(in_path.map(|p| parameter(p, "path", swagger)));
    let body =
        body.map(|(name, required)| (if name.is_empty() { schema.clone() } else { refer(name) }, required));
    if swagger && let Some((schema, required)) = &body {
        parameters.push(json!({"name": "body", "in": "body", "required": required, "schema": schema}));
    }
    let mut answers: Map<String, Value> = codes
        .iter()
        .map(|(code, description)| {
            let mut answer = match swagger {
                true => json!({"schema": schema}),
                false => json!({"content": {"application/json": {"schema": schema}}}),
            };
            answer["description"] = json!(description);
            ((*code).to_owned(), answer)
        })
        .collect();
    answers.insert("401".into(), json!({"description": "Unauthorized"}));
    let mut described = json!({
        "tags": [format!("{}{}_{}", group[..1].to_ascii_lowercase(), &group[1..], kind.version)],
        "operationId": format!("{word}{group}{}{subject}", title(&kind.version)),
        "parameters": parameters,
        "responses": answers,
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": carried.gvk,
    });
    if !swagger && let Some((schema, required)) = body {
        let media: &[&str] = if verb == "patch" { &PATCHES[usize::from(!built_in)..] } else { &["*/*"] };
        let content: Map<String, Value> =
            media.iter().map(|media| ((*media).to_owned(), json!({"schema": schema}))).collect();
        described["requestBody"] = json!({"content": content, "required": required});
    }
    Some((method, described))
}

/// The media types of patches, the one that only built-in kinds take first.
const PATCHES: [&str; 4] = [
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
];

#[cfg(test)]
mod tests;
