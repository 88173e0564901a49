//! Definitions of custom kinds, the rules they have, and the looks at them.

use std::sync::Arc;

use cel::{Binding, Decl, ListKind, Program, Shape, Variable, Wanted};
use serde_json::{Value, json};

use crate::{
    inputs::{JSON, add, list, map},
    targets::{self, kind},
    wide::Case,
};

/// All of them.
pub fn cases(cases: &mut Vec<Case>) {
    definitions(cases);
    names(cases);
    rules(cases);
    embedded(cases);
}

/// A version of a custom kind whose objects have a spec.
fn version(number: usize, spec: &Value) -> Value {
    json!({"name": format!("v{}", number + 1), "served": true, "storage": number == 0,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}})
}

/// Rules over long lists and what they cost.
fn rules(cases: &mut Vec<Case>) {
    let declared = |shape, max_elements| Arc::new(Decl { shape, max_elements, min_size: 2 });
    let text = declared(Shape::String, 10);
    let named = Shape::Object { fields: [("name".to_owned(), ("name".to_owned(), text.clone()))].into() };
    let text_of = |i| json!(format!("t{i}"));
    let named_of = |i| json!({"name": format!("t{i}")});
    let by_name = ListKind::Map(["name".to_owned()].into());
    for (item, kind, value, texts) in [
        (
            Decl::scalar(Shape::Int, 1).into(),
            ListKind::Atomic,
            (|i| json!(i)) as fn(usize) -> Value,
            &[
                "self.transformMap(i, v, v).size() >= 0",
                "self.transformMapEntry(i, v, {v: i}).size() >= 0",
                "self.all(a, self.exists(b, true))",
                "self.all(a, (self + self).size() > 0)",
                "self.all(a, [self] == [self])",
                "sets.contains(self, self)",
                "sets.equivalent(self, self)",
            ][..],
        ),
        (text, ListKind::Set, text_of, &["self == self", "(self + self) == self"]),
        (declared(named, 0), by_name, named_of, &["self == self", "(self + self) == self"]),
    ] {
        let decl = declared(Shape::List { item, kind }, 1_000_000);
        for text in texts {
            let variable = Variable { name: "self", decl: decl.clone(), optional: false };
            let program = Program::compile(text, &[variable], Wanted::Bool).unwrap();
            let decl = decl.clone();
            let bytes = move |n| serde_json::to_vec(&list(n, value)).unwrap();
            add(cases, &format!("rules: {text} of {:?}", value(0)), 10_000, bytes, move |input| {
                let value: Value = serde_json::from_slice(input).unwrap();
                let binding = Binding { name: "self", value: Some(&value), decl: &decl, optional: false };
                let (answer, _) = program.eval(&[binding], 1_000_000);
                usize::from(answer.is_ok())
            });
        }
    }
}

/// The looks at a definition, whose names have been accepted.
fn names(cases: &mut Vec<Case>) {
    let named = |n: usize| {
        let names =
            json!({"plural": "things", "kind": "Thing", "shortNames": list(n, |i| json!(format!("t{i}")))});
        json!({"metadata": {"name": "things.a.b"}, "spec": {"group": "a.b", "names": names},
            "status": {"acceptedNames": names}})
    };
    let bytes = move |n| serde_json::to_vec(&named(n)).unwrap();
    add(cases, "names of a definition", 10_000, bytes, |input| {
        let definition: Value = serde_json::from_slice(input).unwrap();
        let all = [definition.clone()];
        kinds::custom::names::status(&definition, &all, "now").map_or(0, |status| status.to_string().len())
    });
}

/// The schema of an object with properties.
fn properties(size: usize) -> Value {
    json!({"type": "object", "properties": map(size, |i| format!("p{i}"), |_| json!({"type": "string"}))})
}

/// Definitions of custom kinds.
fn definitions(cases: &mut Vec<Case>) {
    let mut whole = |name: &str, size: usize, make: Box<dyn Fn(usize) -> Value>| {
        let definition = kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
        let bytes = move |size| {
            let mut spec = json!({"group": "a.b", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"}});
            for (field, value) in make(size).as_object().into_iter().flatten() {
                spec[field] = value.clone();
            }
            serde_json::to_vec(&json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": "things.a.b"}, "spec": spec,
            }))
            .unwrap()
        };
        add(cases, &format!("definition: {name}"), size, bytes, move |input| {
            targets::whole(definition, JSON, input)
        });
    };
    whole(
        "versions",
        1000,
        Box::new(|n| json!({"versions": list(n, |i| version(i, &json!({"type": "string"})))})),
    );
    whole(
        "versions beside a large one",
        1000,
        Box::new(
            |n| json!({"versions": list(n, |i| version(i, &properties(if i == 0 { n } else { i % 2 })))}),
        ),
    );
    whole(
        "versions of one name",
        1000,
        Box::new(|n| {
            let named = |i| {
                let mut version = version(i, &properties(if i == 0 { n } else { 1 }));
                version["name"] = json!("v1");
                version
            };
            json!({"versions": list(n, named)})
        }),
    );
    let mut definition = |name: &str, size: usize, make: fn(usize) -> Value| {
        whole(name, size, Box::new(move |size| json!({"versions": [version(0, &make(size))]})));
    };
    definition("properties", 2000, properties);
    definition(
        "properties without type",
        2000,
        |n| json!({"type": "object", "properties": map(n, |i| format!("p{i}"), |_| json!({}))}),
    );
    definition("required properties", 2000, |n| {
        json!({"type": "object", "properties": map(n, |i| format!("p{i}"), |_| json!({"type": "string"})),
            "required": list(n, |i| json!(format!("p{i}")))})
    });
    definition(
        "an enumeration",
        2000,
        |n| json!({"type": "string", "enum": list(n, |i| json!(format!("e{i}")))}),
    );
    definition("defaults of an enumeration", 2000, |n| {
        json!({"type": "array", "items": {"type": "string", "enum": list(n, |i| json!(format!("e{i}")))},
            "default": list(n, |i| json!(format!("f{i}")))})
    });
    definition(
        "alternatives",
        2000,
        |n| json!({"type": "object", "anyOf": list(n, |i| json!({"required": [format!("a{i}")]}))}),
    );
    definition("alternatives of alternatives", 20, |n| {
        let level = |below, _| json!({"anyOf": [below, {"required": ["a"]}], "allOf": [{"required": ["b"]}]});
        let mut schema = (0..n).fold(json!({}), level);
        schema["type"] = json!("object");
        schema["default"] = json!({});
        schema
    });
    definition("deep", 25, |n| {
        (0..n)
            .fold(json!({"type": "string"}), |below, _| json!({"type": "object", "properties": {"a": below}}))
    });
    definition("deep with defaults", 25, |n| {
        (0..n).fold(
            json!({"type": "string"}),
            |below, _| json!({"type": "object", "properties": {"a": below}, "default": {}}),
        )
    });
    definition("deep with values", 20, |n| {
        (0..n).fold(json!({"type": "string"}), |below, i| {
            let default = (0..i).fold(json!("x"), |below, _| json!({"a": below}));
            json!({"type": "object", "properties": {"a": below}, "default": default})
        })
    });
    definition("keys of a list", 1000, |n| {
        json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(n, |i| json!(format!("k{i}"))),
            "items": {"type": "object", "required": list(n, |i| json!(format!("k{i}"))),
                "properties": map(n, |i| format!("k{i}"), |_| json!({"type": "string"}))}})
    });
    definition("rules", 100, |n| {
        json!({"type": "object", "properties": {"a": {"type": "string"}},
            "x-kubernetes-validations": list(n, |i| json!({"rule": format!("self.a != '{i}'")}))})
    });
    definition("rules of many properties", 50, |n| {
        json!({"type": "object", "properties": map(n, |i| format!("p{i}"), |_| json!({"type": "string"})),
            "x-kubernetes-validations": list(n, |i| json!({"rule": format!("self.p{i} != 'a'")}))})
    });
    definition("rules below rules", 20, |n| {
        let level = |below, _| {
            json!({"type": "object", "properties": {"a": below, "b": {"type": "string"}},
            "x-kubernetes-validations": [{"rule": "self.b != 'a'"}]})
        };
        (0..n).fold(json!({"type": "object"}), level)
    });
    definition(
        "wrong rules",
        100,
        |n| json!({"type": "object", "x-kubernetes-validations": list(n, |_| json!({"rule": "self.nothing("}))}),
    );
    definition(
        "patterns",
        200,
        |n| json!({"type": "object", "properties": map(n, |i| format!("p{i}"), |i| json!({"type": "string", "pattern": format!("^a{i}+$")}))}),
    );
}

/// Objects in objects, the innermost of which is the largest.
fn embedded(cases: &mut Vec<Case>) {
    let level = |below, _| {
        json!({"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true,
            "properties": {"a": below}})
    };
    let schema = (0..100).fold(json!({"x-kubernetes-preserve-unknown-fields": true}), level);
    let names = json!({"plural": "things", "kind": "Thing"});
    let definition = json!({"metadata": {"name": "things.a.b"}, "status": {"acceptedNames": names},
        "spec": {"group": "a.b", "scope": "Cluster", "names": names, "versions": [version(0, &schema)]}});
    let kind = kinds::custom::kind::rows(&definition).remove(0);
    let bytes = |n| {
        let around =
            |below, _| json!({"apiVersion": "v1", "kind": "A", "metadata": {"name": "a"}, "a": below});
        let spec = (0..n).fold(list(4000 * n, |_| json!(0)), around);
        serde_json::to_vec(
            &json!({"apiVersion": "a.b/v1", "kind": "Thing", "metadata": {"name": "a"}, "spec": spec}),
        )
        .unwrap()
    };
    add(cases, "objects in objects of a custom kind", 25, bytes, move |input| {
        let object: Value = serde_json::from_slice(input).unwrap();
        kind.rules.validate(&object).errors.len()
    });
}
