//! `docs/fields.md` says what becomes of every field of pods and services. Here it is held against the API's schema, the
//! tests and the sources: a field that comes to the API and is forgotten by everybody else fails.

#![allow(missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{PodSpec, ServiceSpec, ServiceStatus};
use schemars::schema_for;
use serde_json::Value;

/// What the page says of a field, and how that shows.
type Row = (String, String);
/// The fields of types, each with the types that it holds.
type Types = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

const ROOTS: [&str; 3] = ["PodSpec", "ServiceSpec", "ServiceStatus"];

fn table(page: &str) -> BTreeMap<String, BTreeMap<String, Row>> {
    let mut table = BTreeMap::<String, BTreeMap<String, Row>>::new();
    let mut of = String::new();
    for line in page.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            name.clone_into(&mut of);
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let ["", field, what, by, ""] = cells[..]
            && let Some(field) = field.strip_prefix('`').and_then(|field| field.strip_suffix('`'))
        {
            let row = (what.to_owned(), by.trim_matches(['`', '“', '”']).to_owned());
            let before = table.entry(of.clone()).or_default().insert(field.to_owned(), row);
            assert_eq!(before, None, "{of}.{field} is there twice");
        }
    }
    table
}

/// The types that a schema leads to, without what every object says of itself.
fn references(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(parts) => {
            let reference = parts.get("$ref").and_then(Value::as_str);
            found.extend(reference.and_then(|to| to.rsplit('.').next()).map(str::to_owned));
            parts.values().for_each(|part| references(part, found));
        }
        Value::Array(parts) => parts.iter().for_each(|part| references(part, found)),
        _ => {}
    }
    found.remove("ObjectMeta");
}

fn types() -> Types {
    let mut types = Types::new();
    let schemas = [schema_for!(PodSpec), schema_for!(ServiceSpec), schema_for!(ServiceStatus)];
    for (root, schema) in ROOTS.into_iter().zip(schemas) {
        let schema = schema.to_value();
        let others = schema["$defs"].as_object().expect("it has types of its own").iter();
        let others = others.map(|(name, schema)| (name.rsplit('.').next().unwrap_or(name), schema));
        for (name, schema) in others.chain([(root, &schema)]) {
            let Some(fields) = schema["properties"].as_object() else { continue };
            for (field, schema) in fields {
                let holds = types.entry(name.to_owned()).or_default().entry(field.clone()).or_default();
                references(schema, holds);
            }
        }
    }
    types
}

/// All sources, by their path.
fn sources(folder: &Path, found: &mut BTreeMap<PathBuf, String>) {
    for entry in std::fs::read_dir(folder).expect("it is there") {
        let path = entry.expect("it can be read").path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            sources(&path, found);
        } else if name.ends_with(".rs") {
            let text = std::fs::read_to_string(&path).expect("it is text");
            found.insert(path, text);
        }
    }
}

/// The tests in a source.
fn tests(source: &str) -> impl Iterator<Item = &str> {
    let mut lines = source.lines();
    std::iter::from_fn(move || {
        lines.find(|line| {
            let line = line.trim_start();
            line.starts_with("#[test]") || line.starts_with("#[tokio::test")
        })?;
        let named = lines.find_map(|line| line.split_once("fn ")?.1.split_once('('));
        named.map(|(name, _)| name)
    })
}

/// Whether a text has a word, as the API or as Rust writes it.
fn names(text: &str, field: &str) -> bool {
    let mut snake = String::new();
    for c in field.chars() {
        if c.is_ascii_uppercase() && !snake.ends_with(|last: char| last.is_ascii_uppercase()) {
            snake.push('_');
        }
        snake.push(c);
    }
    let snake = snake.to_lowercase();
    text.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|word| word == field || word == snake)
}

#[test]
fn the_page_tells_of_every_field_what_is_so() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above");
    let page = std::fs::read_to_string(root.join("docs/fields.md")).expect("it is there");
    let (table, types) = (table(&page), types());
    let mut all = BTreeMap::new();
    sources(root, &mut all);
    let (of_tests, own): (BTreeMap<_, _>, BTreeMap<_, _>) = all.iter().partition(|(path, _)| {
        path.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs")
    });
    let mut wrong = Vec::new();
    let (mut pending, mut seen) = (BTreeSet::from(ROOTS.map(str::to_owned)), BTreeSet::new());
    while let Some(name) = pending.pop_first() {
        let Some(fields) = types.get(&name).filter(|_| seen.insert(name.clone())) else { continue };
        let rows = table.get(&name).cloned().unwrap_or_default();
        wrong.extend(
            rows.keys().filter(|row| !fields.contains_key(*row)).map(|row| format!("{name} has no {row}")),
        );
        for (field, holds) in fields {
            let (what, by) = rows.get(field).cloned().unwrap_or_default();
            let kind = what.split([' ', ',']).next().unwrap_or_default();
            let shown = match kind {
                "honoured" | "dropped" => {
                    of_tests.values().any(|text| tests(text).any(|test| test == by) && names(text, field))
                }
                "refused" => by.len() > 10 && own.values().any(|text| text.contains(&by)),
                "limit" => by.len() > 10,
                _ => false,
            };
            if !shown {
                wrong.push(format!("{name}.{field}: {what:?} by {by:?}"));
            }
            if kind == "honoured" {
                pending.extend(holds.iter().cloned());
            }
        }
    }
    let unknown = table.keys().filter(|name| !seen.contains(*name));
    wrong.extend(unknown.map(|name| format!("nothing that is honoured leads to {name}")));
    assert!(wrong.is_empty(), "docs/fields.md does not tell what is so:\n{}", wrong.join("\n"));
    assert!(seen.len() > 70, "the schema leads to {seen:?}");
}
