//! What holds for every row of the table.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::builtin;
use crate::kind::{Kind, Part};

fn smallest(kind: &Kind) -> Value {
    json!({"apiVersion": kind.api_version(), "kind": kind.kind, "metadata": {"name": "x"}})
}

#[test]
fn rows_have_names_of_their_own() {
    let kinds = builtin();
    let mut seen = BTreeSet::new();
    for kind in &kinds {
        let row = (kind.group.clone(), kind.version.clone(), kind.plural.clone());
        assert!(seen.insert(row), "{} comes twice", kind.plural);
        assert_eq!(kind.singular, kind.kind.to_lowercase());
        assert_eq!(kind.scale.is_some(), kind.subresource("scale").is_some(), "{}", kind.kind);
    }
    let stored = kinds.iter().filter(|k| k.is_stored_form());
    let mut words: Vec<_> = stored.flat_map(|k| &k.short_names).collect();
    words.sort();
    let count = words.len();
    words.dedup();
    assert_eq!(words.len(), count, "a short name stands for two kinds");
}

#[test]
fn versions_share_one_place_and_lose_nothing() {
    let kinds = builtin();
    for kind in kinds.iter().filter(|k| !k.is_stored_form()) {
        let stored = kinds.iter().find(|k| k.is_stored_form() && k.storage_prefix() == kind.storage_prefix());
        let stored = stored.unwrap_or_else(|| panic!("nothing stores {}", kind.kind));
        assert_eq!(
            (&kind.plural, kind.namespaced, &kind.short_names, kind.verbs),
            (&stored.plural, stored.namespaced, &stored.short_names, stored.verbs)
        );
        let object = stored.rules.default(smallest(stored)).unwrap();
        let seen = kind.own_form(object.clone());
        assert_eq!(seen["apiVersion"], kind.api_version());
        assert_eq!(kind.rules.default(seen.clone()).unwrap(), seen, "{}", kind.kind);
        assert_eq!(kind.stored_form(seen), object, "{}", kind.kind);
        let known = stored.rules.selectable_fields(&Value::Null);
        for (label, _) in kind.rules.selectable_fields(&Value::Null) {
            let name = kind.stored_field(&label);
            assert!(name.is_none_or(|name| known.iter().any(|(known, _)| *known == name)), "{label}");
        }
    }
}

#[test]
fn every_kind_fills_every_column() {
    for kind in builtin() {
        let columns = kind.rules.columns();
        let object = kind.rules.default(smallest(&kind)).unwrap();
        for value in [json!({}), object] {
            let cells = kind.rules.cells(&value, Timestamp::UNIX_EPOCH);
            assert_eq!(cells.len(), columns.len(), "{}", kind.kind);
        }
        assert!(columns.iter().any(|c| c.name == "Name"), "{}", kind.kind);
    }
}

#[test]
fn defaulting_twice_changes_nothing() {
    for kind in builtin() {
        let once = kind.rules.default(smallest(&kind)).unwrap();
        let twice = kind.rules.default(once.clone()).unwrap();
        assert_eq!(once, twice, "{}", kind.kind);
    }
}

#[test]
fn an_object_that_does_not_change_may_be_updated() {
    for kind in builtin() {
        let mut object = kind.rules.default(smallest(&kind)).unwrap();
        kind.rules.prepare_create(&mut object);
        let wrong = kind.rules.validate(&object).errors.0.len();
        let mut same = object.clone();
        kind.rules.prepare_update(&mut same, &object, Part::Main);
        let errors = kind.rules.validate_update(&same, &object, Part::Main).errors;
        assert!(errors.0.len() <= wrong, "{}: {:?}", kind.kind, errors);
        // What was prepared is prepared still.
        assert_eq!(same.get("spec"), object.get("spec"), "{}", kind.kind);
        // Selectable fields are always the same ones.
        let names = |v: &Value| kind.rules.selectable_fields(v).into_iter().map(|f| f.0).collect::<Vec<_>>();
        assert_eq!(names(&object), names(&json!({})), "{}", kind.kind);
    }
}

/// Any JSON, and often with the field names that kinds know.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-zA-Z0-9%/:. -]{0,12}".prop_map(Value::from),
    ];
    let field = prop_oneof![
        Just("spec".to_owned()),
        Just("status".to_owned()),
        Just("template".to_owned()),
        Just("metadata".to_owned()),
        Just("containers".to_owned()),
        Just("ports".to_owned()),
        Just("selector".to_owned()),
        Just("data".to_owned()),
        Just("name".to_owned()),
        Just("rules".to_owned()),
        "[a-z]{1,6}",
    ];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(field.clone(), inner, 0..5)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_object_breaks_the_rules_of_any_kind(value in json_value()) {
        for kind in builtin() {
            let _ = kind.rules.cells(&value, Timestamp::UNIX_EPOCH);
            let _ = kind.rules.selectable_fields(&value);
            let _ = kind.rules.grace_period(&value, None);
            let mut object = smallest(&kind);
            if let (Some(map), Some(more)) = (object.as_object_mut(), value.as_object()) {
                for (field, content) in more.iter().filter(|(f, _)| *f != "metadata") {
                    map.insert(field.clone(), content.clone());
                }
            }
            let Ok(mut object) = kind.rules.default(object) else { continue };
            kind.rules.prepare_create(&mut object);
            let _ = kind.rules.validate(&object);
            let _ = kind.rules.validate_update(&object, &object, Part::Status);
        }
    }
}
