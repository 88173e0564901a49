//! What reads callers' input, one function each: from bytes to what they came to.

use std::sync::LazyLock;

use api::{
    quantity::Quantity,
    selector::{FieldSelector, LabelSelector},
    status::Status,
};
use apiserver::{
    body,
    query::{FieldValidation, Query, wants_watch},
    request::{self, Target, Verb},
};
use cel::{Program, Wanted};
use jiff::Timestamp;
use kinds::{
    apply::{self, Options},
    kind::{Kind, Part, version::Versions},
    patch::{PatchType, apply_patch},
    schema::Types,
};
use serde_json::{Value, json};

type Run = fn(&[u8]) -> String;

pub const ALL: &[(&str, Run)] = &[
    ("requests", requests),
    ("json_patches", |input| patched(PatchType::Json, input)),
    ("merge_patches", |input| patched(PatchType::Merge, input)),
    ("strategic_patches", |input| patched(PatchType::Strategic, input)),
    ("applied", applied),
    ("label_selectors", label_selectors),
    ("field_selectors", field_selectors),
    ("quantities", quantities),
    ("json_objects", |input| objects("application/json", input)),
    ("yaml_objects", |input| objects("application/yaml", input)),
    ("protobuf_objects", |input| objects("application/vnd.kubernetes.protobuf", input)),
    ("expressions", expressions),
];

fn text(input: &[u8]) -> String {
    String::from_utf8_lossy(input).into_owned()
}

/// Method, path and query: `GET /api/v1/pods?watch=true`.
fn requests(input: &[u8]) -> String {
    let line = text(input);
    let (method, uri) = line.split_once(' ').unwrap_or(("GET", &line));
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let method = http::Method::from_bytes(method.as_bytes()).unwrap_or(http::Method::GET);
    let parsed = Query::parse(&method, query);
    if let Ok(parsed) = &parsed {
        assert_eq!(parsed.watch, wants_watch(query), "{query}");
    }
    let target = request::parse(path);
    let verb = match &target {
        Target::Resource(resource) => {
            assert!(!resource.resource.is_empty());
            Verb::of(&method, resource, wants_watch(query))
        }
        _ => None,
    };
    let checked = parsed.map(|q| (q.check_list().err(), q.revision().err())).map_err(|s| s.message);
    format!(
        "{} {verb:?} {checked:?}",
        match target {
            Target::Resource(r) =>
                format!("resource {:?} {:?}", r.namespace.is_some(), r.subresource.is_some()),
            Target::Discovery(_) => "discovery".into(),
            Target::Other => "other".into(),
        }
    )
}

static KINDS: LazyLock<Vec<Kind>> = LazyLock::new(kinds::builtin::all);

/// All kinds.
pub fn kinds() -> &'static [Kind] {
    &KINDS
}

pub fn kind(group: &str, version: &str, name: &str) -> &'static Kind {
    KINDS.iter().find(|k| k.group == group && k.version == version && k.kind == name).unwrap()
}

/// A pod with a little of everything.
static POD: LazyLock<Value> = LazyLock::new(|| {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "p", "namespace": "default", "uid": "u", "labels": {"app": "a"}, "annotations": {"k": "v"},
            "finalizers": ["a/b", "c/d"],
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "1"}],
        },
        "spec": {
            "containers": [
                {"name": "c", "image": "i", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                 "ports": [{"containerPort": 80, "protocol": "TCP"}], "resources": {"limits": {"cpu": "100m"}}},
                {"name": "d", "image": "j", "volumeMounts": [{"name": "v", "mountPath": "/v"}]},
            ],
            "volumes": [{"name": "v", "emptyDir": {}}],
            "tolerations": [{"key": "k", "operator": "Exists"}],
        },
    });
    kind("", "v1", "Pod").rules.default(pod).unwrap()
});

/// What a changed pod would go through.
fn judged(mut new: Value) -> String {
    let pod = kind("", "v1", "Pod");
    match body::try_read(pod, std::mem::take(&mut new)) {
        Err(why) => why.to_string(),
        Ok(mut new) => {
            pod.rules.prepare_update(&mut new, &POD, Part::Main);
            let mut errors = pod.rules.validate(&new).errors;
            errors.extend(pod.rules.validate_update(&new, &POD, Part::Main).errors);
            pod.cells(&new, Timestamp::UNIX_EPOCH);
            errors.iter().map(|e| format!("{e}\n")).collect()
        }
    }
}

pub fn patched(form: PatchType, input: &[u8]) -> String {
    let types = Types::builtin();
    match apply_patch(form, types, types.root("", "v1", "Pod"), &POD, input) {
        Ok(new) => format!("{} {}", new.is_object(), judged(new)),
        Err(status) => {
            // A list whose order contradicts itself is upstream's own 500, which has no reason.
            let contradicts = status.code == 500 && status.reason.is_empty();
            assert!(matches!(status.code, 400 | 413 | 422) || contradicts, "{status:?}");
            status.message
        }
    }
}

pub fn applied(input: &[u8]) -> String {
    let types = Types::builtin();
    let config = match body::parse("application/yaml", input, "Pod") {
        Ok(config) if config.is_object() => config,
        Ok(_) => return "no object".into(),
        Err(status) => return status.message,
    };
    let options = Options {
        manager: "fuzz",
        force: input.len().is_multiple_of(2),
        subresource: "",
        status_leaves: &[],
        api_version: "v1".into(),
        now: Timestamp::UNIX_EPOCH,
    };
    let versions = Versions { types, root: types.root("", "v1", "Pod").unwrap(), own: "v1", rows: &[] };
    match apply::apply(versions, Some(&POD), &config, &options) {
        Ok(new) => judged(new),
        Err(refusal) => format!("{refusal:?}"),
    }
}

fn label_selectors(input: &[u8]) -> String {
    match LabelSelector::parse(&text(input)) {
        Err(why) => why.into(),
        Ok(selector) => {
            let shown = selector.to_string();
            let again = LabelSelector::parse(&shown).unwrap_or_else(|why| panic!("{shown:?}: {why}"));
            assert_eq!(again.to_string(), shown, "what is written reads the same");
            format!("{} requirements", selector.requirements().len())
        }
    }
}

fn field_selectors(input: &[u8]) -> String {
    match FieldSelector::parse(&text(input)) {
        Err(why) => why.into(),
        Ok(selector) => {
            selector.matches(|field| if field.len().is_multiple_of(2) { "x" } else { "" });
            format!("{} terms", selector.terms.len())
        }
    }
}

fn quantities(input: &[u8]) -> String {
    match text(input).parse::<Quantity>() {
        Err(why) => why.to_string(),
        Ok(quantity) => {
            let shown = quantity.to_string();
            let again: Quantity = shown.parse().unwrap_or_else(|why| panic!("{shown:?}: {why}"));
            assert_eq!(again.to_string(), shown, "the canonical form is canonical");
            assert_eq!(again.cmp(&quantity), std::cmp::Ordering::Equal, "{shown}");
            let sum = quantity.value().checked_add(quantity.milli_value());
            format!(
                "{:?} {} {} {}",
                quantity.format(),
                quantity.is_zero(),
                quantity.is_negative(),
                sum.is_some()
            )
        }
    }
}

/// A body as the kind that it says it is; one that says nothing as a pod.
fn objects(media: &str, input: &[u8]) -> String {
    let named = body::parse(media, input, "Pod").ok();
    let named = named.as_ref().and_then(|v| {
        let (version, name) = (v["apiVersion"].as_str()?, v["kind"].as_str()?);
        KINDS.iter().find(|k| k.api_version() == version && k.kind == name)
    });
    let kind = named.unwrap_or_else(|| kind("", "v1", "Pod"));
    let strictness =
        if input.len().is_multiple_of(2) { FieldValidation::Strict } else { FieldValidation::Warn };
    let decoded = match body::object(kind, media, input, strictness) {
        Ok(decoded) => decoded,
        Err(status) => {
            assert!(matches!(status.code, 400 | 415), "{status:?}");
            return status.message;
        }
    };
    match body::read_as(kind, decoded.object) {
        Err(status) => status.message,
        Ok(mut object) => {
            kind.rules.prepare_create(&mut object);
            let mut errors = api::validation::object_meta(&object, kind.facts.names, kind.namespaced);
            errors.extend(kind.rules.validate(&object).errors);
            kind.cells(&object, Timestamp::UNIX_EPOCH);
            kind.rules.selectable_fields(&object);
            errors.iter().map(|e| format!("{e}\n")).collect()
        }
    }
}

/// How many requests [`whole`] is the work of.
pub const WRITES: u32 = 8;

/// A body through all that judges it when an object is made, and when it is written again: how long the answer is.
pub fn whole(kind: &'static Kind, media: &str, input: &[u8]) -> usize {
    let answered = |status: Status| serde_json::to_vec(&status).unwrap().len();
    let decoded = match body::object(kind, media, input, FieldValidation::Warn) {
        Ok(decoded) => decoded,
        Err(status) => return answered(status),
    };
    let warned: usize = decoded.warnings.iter().map(String::len).sum();
    let object = match body::read_as(kind, decoded.object) {
        Ok(object) => object,
        Err(status) => return answered(status),
    };
    let types = Types::builtin();
    let root = types.root(&kind.group, &kind.version, &kind.kind).unwrap();
    let versions = Versions { types, root, own: &kind.version, rows: &[] };
    let options = Options {
        manager: "fuzz",
        force: false,
        subresource: "",
        status_leaves: &[],
        api_version: kind.api_version(),
        now: Timestamp::UNIX_EPOCH,
    };
    let mut new = apply::track_update(versions, None, object.clone(), &options);
    apply::without_managers(&mut new, |new| kind.rules.prepare_create(new));
    let mut errors = api::validation::object_meta(&new, kind.facts.names, kind.namespaced);
    let findings = kind.rules.validate(&new);
    errors.extend(findings.errors);
    kind.cells(&new, Timestamp::UNIX_EPOCH);
    kind.rules.selectable_fields(&new);
    for part in [Part::Main, Part::Status] {
        let mut again = object.clone();
        kind.rules.prepare_update(&mut again, &new, part);
        api::validation::object_meta_update(&again, &new);
        kind.rules.validate_update(&again, &new, part);
        kind.rules.validate_update(&object, &new, part);
        apply::track_update(versions, Some(&new), again, &options);
    }
    let _merged =
        apply_patch(PatchType::Strategic, types, Some(root), &new, &serde_json::to_vec(&object).unwrap());
    let _applied = apply::apply(versions, Some(&new), &object, &options);
    warned + answered(Status::invalid(&kind.kind, &kind.group, "x", &errors))
}

/// A body as the configuration that is applied to a config map.
pub fn configured(input: &[u8]) -> usize {
    match body::configuration(("v1", "ConfigMap"), input, FieldValidation::Warn) {
        Ok(decoded) => decoded.warnings.iter().map(String::len).sum(),
        Err(status) => status.message.len(),
    }
}

fn expressions(input: &[u8]) -> String {
    match Program::compile(&text(input), &[], Wanted::Bool) {
        Err(why) => why.to_string(),
        Ok(program) => format!("{:?}", program.eval(&[], 100_000).0),
    }
}
