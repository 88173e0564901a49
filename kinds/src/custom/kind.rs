//! Rows of the table of kinds made from a definition: one for each served version, and their rules.
//!
//! Objects go the way of built-in ones; where those have a type, these have a schema.

use std::sync::{Arc, OnceLock};

use api::{
    conditions,
    field::{ErrorType, Errors, Path},
    object::{ObjectExt as _, api_version},
    validation::finalizer_warnings,
};
use schemars::{Schema as Described, SchemaGenerator};
use serde_json::{Value, json};

use super::{columns, fill, lists, publish, rules::Node, scale, schema::Schema, validate};
use crate::{
    builtin::METADATA,
    kind::{
        ALL_VERBS, Column, DecodeError, Facts, Findings, Kind, Part, Rules, ScalePaths, Subresource, Text,
        version::{Conversion, StoredAs, stability},
    },
    schema::Types,
};

/// Nothing is created any more while a definition goes.
const ENDING_VERBS: &[&str] = &["delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const STATUS_VERBS: &[&str] = &["get", "patch", "update"];

/// The rows of a definition: one for each version that is served. Versions that a webhook would have to convert
/// are not served, but for the stored one.
pub fn rows(definition: &Value) -> Vec<Kind> {
    let null = Value::Null;
    let spec = definition.get("spec").unwrap_or(&null);
    let versions = spec.get("versions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let flag = |version: &Value, name: &str| version.get(name) == Some(&Value::Bool(true));
    let stored = versions.iter().find(|v| flag(v, "storage")).map_or("", |v| v.str_at(&["name"]));
    let stored_rules = versions
        .iter()
        .find(|v| flag(v, "storage"))
        .map(|version| Arc::new(CustomRules::new(definition, version)));
    let webhook = spec.str_at(&["conversion", "strategy"]) == "Webhook";
    versions
        .iter()
        .filter(|v| flag(v, "served") && (!webhook || v.str_at(&["name"]) == stored))
        .map(|version| {
            row(definition, version, stored_rules.as_ref().filter(|_| version.str_at(&["name"]) != stored))
        })
        .collect()
}

/// `stored` are the rules of the stored version when that is another one.
fn row(definition: &Value, version: &Value, stored: Option<&Arc<CustomRules>>) -> Kind {
    let group = definition.str_at(&["spec", "group"]);
    let names = definition.at(&["status", "acceptedNames"]).cloned().unwrap_or_default();
    let text = |key: &str| Text::from(names.str_at(&[key]).to_owned());
    let list = |key: &str| -> Vec<Text> {
        let items = names.get(key).and_then(Value::as_array);
        items.into_iter().flatten().filter_map(Value::as_str).map(|name| name.to_owned().into()).collect()
    };
    let name = version.str_at(&["name"]).to_owned();
    let kind = text("kind");
    let rules = CustomRules::new(definition, version);
    let types = Types::custom(group, &name, &kind, &rules.open_schema());
    let subresource = |name: &'static str, gvk| Subresource { name: name.into(), gvk, verbs: STATUS_VERBS };
    let mut subresources = Vec::new();
    if rules.has_status {
        subresources.push(subresource("status", None));
    }
    let scale = rules.scale.clone();
    if scale.is_some() {
        subresources.push(subresource("scale", Some(("autoscaling", "v1", "Scale"))));
    }
    Kind {
        group: group.to_owned().into(),
        version: name.clone().into(),
        kind,
        plural: text("plural"),
        singular: text("singular"),
        short_names: list("shortNames"),
        categories: list("categories"),
        namespaced: definition.str_at(&["spec", "scope"]) == "Namespaced",
        verbs: if conditions::holds(definition, "Terminating") { ENDING_VERBS } else { ALL_VERBS },
        subresources,
        transient: false,
        returns_deleted: false,
        status_leaves: METADATA,
        scale,
        stored_as: stored.map(|stored| StoredAs {
            group: group.to_owned().into(),
            version: stored.name[1].clone().into(),
            conversion: Conversion::Declared(stored.clone()),
        }),
        types: Some(Arc::new(types)),
        deprecation: deprecation(definition, version, &rules.name),
        facts: Facts {
            has_generation: true,
            takes_plain_finalizers: true,
            updates_unconditionally: false,
            ..Facts::PLAIN
        },
        rules: Arc::new(rules),
        root: OnceLock::new(),
        columns: OnceLock::new(),
    }
}

/// What requests to a version are told.
fn deprecation(definition: &Value, version: &Value, [group, name, kind]: &[String; 3]) -> Option<Text> {
    let is = |version: &Value, what: &str| version.get(what) == Some(&Value::Bool(true));
    if !is(version, "deprecated") {
        return None;
    }
    if let Some(said) = version.get("deprecationWarning").and_then(Value::as_str) {
        return Some(said.to_owned().into());
    }
    let all = definition.list_at(&["spec", "versions"]).iter();
    let others = all.filter(|other| is(other, "served") && !is(other, "deprecated"));
    let newest = others.map(|other| other.str_at(&["name"])).max_by_key(|other| stability(other));
    let instead = newest.filter(|newest| stability(newest) > stability(name));
    let instead = instead.map(|newest| format!("; use {group}/{newest} {kind}")).unwrap_or_default();
    Some(format!("{group}/{name} {kind} is deprecated{instead}").into())
}

fn scale_paths(scale: &Value) -> ScalePaths {
    let path = |key: &str| -> Vec<String> {
        scale.str_at(&[key]).split('.').filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    let selector = path("labelSelectorPath");
    ScalePaths {
        spec_replicas: path("specReplicasPath"),
        status_replicas: path("statusReplicasPath"),
        selector: (!selector.is_empty()).then_some(selector),
    }
}

/// The rules of one version of a custom kind.
pub struct CustomRules {
    schema: Schema,
    /// The schema as it was written.
    json: Value,
    nodes: Option<Node>,
    has_status: bool,
    scale: Option<ScalePaths>,
    columns: Vec<Column>,
    /// The fields that selectors may name, without their leading dot.
    selectable: Vec<Text>,
    name: [String; 3],
}

impl CustomRules {
    fn new(definition: &Value, version: &Value) -> Self {
        let json = version.at(&["schema", "openAPIV3Schema"]).cloned().unwrap_or_else(
            // Nothing is known of objects without a schema.
            || json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
        );
        let schema = Schema::read(&json);
        let name = [
            definition.str_at(&["spec", "group"]),
            version.str_at(&["name"]),
            definition.str_at(&["status", "acceptedNames", "kind"]),
        ]
        .map(str::to_owned);
        Self {
            nodes: Node::of_resource(&schema),
            has_status: version.at(&["subresources", "status"]).is_some_and(|s| !s.is_null()),
            scale: version.at(&["subresources", "scale"]).map(scale_paths),
            columns: columns::of_version(version),
            selectable: version
                .get("selectableFields")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .map(|field| field.str_at(&["jsonPath"]).trim_start_matches('.').to_owned().into())
                .collect(),
            schema,
            json,
            name,
        }
    }

    /// The schema of patches and applies: one that keeps unknown fields where the definition does.
    fn open_schema(&self) -> Value {
        let mut json = self.json.clone();
        if let Some(properties) = json.get_mut("properties").and_then(Value::as_object_mut) {
            properties.remove("metadata");
        }
        json
    }

    fn check(&self, object: &Value, old: Option<&Value>, part: Part<'_>) -> Errors {
        let mut errors = Errors::default();
        let root = Path::root();
        // Metadata has been checked as every object's is; the schema may only restrict names.
        validate::check(object, old, &self.schema, &root, &mut errors);
        if let Some(paths) = &self.scale {
            scale::check(object, paths, part, &mut errors);
        }
        lists::embedded(object, &self.schema, &root, &mut errors);
        let mut doubles = Errors::default();
        lists::unique(object, &self.schema, &root, &mut doubles);
        if let Some(old) = old {
            // What was double before may stay so.
            let mut known = Errors::default();
            lists::unique(old, &self.schema, &root, &mut known);
            if !known.is_empty() {
                doubles = Errors::default();
            }
        }
        errors.extend(doubles);
        errors
    }

    /// CEL rules are asked only about objects whose values have the right types and sizes.
    fn findings(&self, object: &Value, old: Option<&Value>, part: Part<'_>) -> Findings {
        const BLOCKING: &[ErrorType] = &[
            ErrorType::NotSupported,
            ErrorType::Required,
            ErrorType::TooLong,
            ErrorType::TooMany,
            ErrorType::TypeInvalid,
        ];
        let mut errors = self.check(object, old, part);
        let mut warnings = finalizer_warnings(object, old);
        let Some(node) = &self.nodes else { return Findings { errors, warnings } };
        if errors.iter().any(|error| BLOCKING.contains(&error.kind)) {
            let why = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
            errors.invalid(&Path::new("<nil>"), Value::Null, why);
        } else {
            errors.extend(node.check(object, old, &mut warnings));
        }
        Findings { errors, warnings }
    }

    fn value_at(object: &Value, path: &str) -> String {
        match path.split('.').try_fold(object, |value, name| value.get(name)) {
            Some(Value::String(text)) => text.clone(),
            None | Some(Value::Null | Value::Array(_) | Value::Object(_)) => String::new(),
            Some(other) => other.to_string(),
        }
    }
}

impl Rules for CustomRules {
    fn default(&self, mut object: Value) -> Result<Value, DecodeError> {
        self.drop_undeclared(&mut object);
        fill::coerce(&mut object, &self.schema, &Path::root())?;
        self.fill_in(&mut object);
        crate::json::drop_empty_fractions(&mut object);
        if let Some(map) = object.as_object_mut() {
            let [group, version, kind] = &self.name;
            map.entry("apiVersion").or_insert_with(|| api_version(group, version).into());
            map.entry("kind").or_insert_with(|| kind.as_str().into());
        }
        Ok(object)
    }

    fn drop_undeclared(&self, object: &mut Value) {
        fill::prune(object, &self.schema, true);
        fill::drop_nulls(object, &self.schema);
    }

    fn fill_in(&self, object: &mut Value) {
        fill::defaults(object, &self.schema);
    }

    fn prepare_create(&self, object: &mut Value) {
        // Without defaults nothing is there of a status that clients may not set.
        if self.has_status
            && let Some(map) = object.as_object_mut()
        {
            map.remove("status");
        }
    }

    fn validate(&self, object: &Value) -> Findings {
        self.findings(object, None, Part::Main)
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part<'_>) -> Findings {
        self.findings(new, Some(old), part)
    }

    fn columns(&self) -> Vec<Column> {
        self.columns.clone()
    }

    fn selectable_fields(&self, object: &Value) -> Vec<(Text, String)> {
        self.selectable.iter().map(|path| (path.clone(), Self::value_at(object, path))).collect()
    }

    fn schema(&self, generator: &mut SchemaGenerator) -> Described {
        publish::described(&self.json, &self.schema, &self.selectable, generator)
    }
}
