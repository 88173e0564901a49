#![allow(clippy::unwrap_used)]
use api::object::ObjectExt as _;
use serde_json::{Value, json};

use crate::kind::{Part, Rules, Typed};

use super::{CLEANUP, Definition};

const RULES: Typed<Definition> = Typed::<Definition>::RULES;

fn definition(change: impl Fn(&mut Value)) -> Value {
    let mut definition = json!({
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}],
        },
    });
    change(&mut definition);
    let mut object = RULES.default(definition).unwrap();
    RULES.prepare_create(&mut object);
    object
}

fn errors(change: impl Fn(&mut Value)) -> Vec<String> {
    RULES.validate(&definition(change)).errors.iter().map(ToString::to_string).collect()
}

#[test]
fn names_and_status_are_filled_in() {
    let object = definition(|_| {});
    assert_eq!(
        object["spec"]["names"],
        json!({"kind": "Widget", "listKind": "WidgetList", "plural": "widgets", "singular": "widget"})
    );
    assert_eq!(object["spec"]["conversion"], json!({"strategy": "None"}));
    assert_eq!(
        object["status"],
        json!({"acceptedNames": {"kind": "", "plural": ""}, "conditions": null, "storedVersions": ["v1"]})
    );
    assert_eq!(object["spec"]["versions"][0]["schema"]["openAPIV3Schema"], json!({"type": "object"}));
}

#[test]
fn schemas_come_back_as_they_were() {
    let schema = json!({"type": "object", "properties": {"n": {
        "type": "integer", "minimum": 1, "maximum": 2.5, "default": 2, "enum": [1, 2], "nullable": true,
        "x-kubernetes-validations": [{"rule": "self > 0", "fieldPath": ".n", "optionalOldSelf": true}],
    }}, "anyOf": [{"properties": {"n": {"multipleOf": 2}}}]});
    let object = definition(|d| d["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = schema.clone());
    assert_eq!(object["spec"]["versions"][0]["schema"]["openAPIV3Schema"], schema);
}

#[test]
fn definitions_are_checked() {
    assert_eq!(errors(|_| {}), Vec::<String>::new());
    type Case<'a> = (&'a dyn Fn(&mut Value), &'a str);
    let cases: &[Case<'_>] = &[
        (
            &|d| d["metadata"]["name"] = json!("wrong"),
            "metadata.name: Invalid value: \"wrong\": must be spec.names.plural+\".\"+spec.group",
        ),
        (
            &|d| {
                d["spec"]["versions"][0].as_object_mut().unwrap().remove("schema");
            },
            "spec.versions[0].schema.openAPIV3Schema: Required value",
        ),
        (
            &|d| d["spec"]["scope"] = json!("World"),
            "spec.scope: Unsupported value: \"World\": supported values: \"Cluster\", \"Namespaced\"",
        ),
        (
            &|d| d["spec"]["names"]["kind"] = json!("Wid get"),
            "spec.names.kind: Invalid value: \"Wid get\": may have mixed case, but should otherwise match: a DNS-1035 label",
        ),
        (
            &|d| d["spec"]["names"]["listKind"] = json!("Widget"),
            "spec.names.listKind: Invalid value: \"Widget\": kind and listKind may not be the same",
        ),
        (
            &|d| d["spec"]["names"]["shortNames"] = json!(["W"]),
            "spec.names.shortNames[0]: Invalid value: \"W\": a DNS-1035 label",
        ),
        (
            &|d| d["spec"]["versions"][0]["name"] = json!("V1"),
            "spec.versions[0].name: Invalid value: \"V1\": a DNS-1035 label",
        ),
        (
            &|d| d["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = json!({"type": "string"}),
            "spec.validation.openAPIV3Schema.type: Invalid value: \"string\": must be object at the root",
        ),
        (
            &|d| d["spec"]["versions"][0]["deprecationWarning"] = json!("x"),
            "spec.versions[0].deprecationWarning: Invalid value: \"x\": can only be set for deprecated versions",
        ),
        (
            &|d| {
                d["spec"]["versions"][0]["subresources"] =
                    json!({"scale": {"specReplicasPath": ".status.n", "statusReplicasPath": ".status.n"}})
            },
            "spec.subresources.scale.specReplicasPath: Invalid value: \".status.n\": should be a json path under .spec",
        ),
        (
            &|d| {
                d["spec"]["versions"][0]["additionalPrinterColumns"] =
                    json!([{"name": "a", "type": "text", "jsonPath": ".a"}])
            },
            "spec.additionalPrinterColumns[0].type: Invalid value: \"text\": must be one of boolean,date,integer,number,string",
        ),
        (
            &|d| {
                d["spec"]["versions"][0]["additionalPrinterColumns"] =
                    json!([{"name": "a", "type": "string", "jsonPath": "a"}])
            },
            "spec.additionalPrinterColumns[0].JSONPath: Invalid value: \"a\": must be a simple json path starting with .",
        ),
        (
            &|d| d["spec"]["versions"][0]["selectableFields"] = json!([{"jsonPath": ".spec.x"}]),
            "spec.selectableFields[0].jsonPath: Invalid value: \".spec.x\": is an invalid path: does not refer to a valid field",
        ),
        (
            &|d| d["spec"]["preserveUnknownFields"] = json!(true),
            "spec.preserveUnknownFields: Invalid value: true: cannot set to true",
        ),
        (
            &|d| d["spec"]["conversion"] = json!({"strategy": "Webhook"}),
            "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook",
        ),
        (
            &|d| d["spec"]["conversion"] = json!({"strategy": "Magic"}),
            "spec.conversion.strategy: Unsupported value: \"Magic\"",
        ),
    ];
    for (change, expected) in cases {
        let told = errors(change);
        assert!(told.iter().any(|e| e.starts_with(expected)), "{expected}: {told:?}");
    }
    let two = errors(|d| {
        let version = d["spec"]["versions"][0].clone();
        d["spec"]["versions"].as_array_mut().unwrap().push(version);
    });
    assert!(two[0].ends_with("must contain unique version names"), "{two:?}");
    assert!(two[1].ends_with("must have exactly one version marked as storage version"), "{two:?}");
    let protected = errors(|d| {
        d["metadata"]["name"] = json!("widgets.x.k8s.io");
        d["spec"]["group"] = json!("x.k8s.io");
    });
    assert!(protected[0].starts_with("metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have approval annotation"));
}

#[test]
fn versions_with_their_own_schemas_are_checked_apart() {
    let told = errors(|d| {
        let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"a": {}}}});
        d["spec"]["versions"]
            .as_array_mut()
            .unwrap()
            .push(json!({"name": "v2", "served": true, "storage": false, "schema": schema}));
    });
    assert_eq!(
        told,
        [
            "spec.versions[1].schema.openAPIV3Schema.properties[a].type: Required value: must not be empty for specified object fields"
        ]
    );
}

#[test]
fn updates_keep_what_objects_rest_on() {
    let mut old = definition(|_| {});
    old["status"]["conditions"] = json!([{"type": "Established", "status": "True"}]);
    let update = |change: &dyn Fn(&mut Value)| -> Vec<String> {
        let mut new = old.clone();
        change(&mut new);
        RULES.prepare_update(&mut new, &old, Part::Main);
        RULES.validate_update(&new, &old, Part::Main).errors.iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        update(&|d| d["spec"]["scope"] = json!("Cluster")),
        ["spec.scope: Invalid value: \"Cluster\": field is immutable"]
    );
    assert_eq!(
        update(&|d| d["spec"]["names"]["kind"] = json!("Gadget")),
        ["spec.names.kind: Invalid value: \"Gadget\": field is immutable"]
    );
    let renamed = update(&|d| d["spec"]["versions"][0]["name"] = json!("v2"));
    assert!(
        renamed[0]
            .starts_with("status.storedVersions[0]: Invalid value: \"v1\": missing from spec.versions;"),
        "{renamed:?}"
    );
    let mut new = old.clone();
    new["spec"]["versions"].as_array_mut().unwrap().push(
        json!({"name": "v2", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}),
    );
    new["spec"]["versions"][0]["storage"] = json!(false);
    RULES.prepare_update(&mut new, &old, Part::Main);
    assert_eq!(new["status"]["storedVersions"], json!(["v1", "v2"]));
    assert!(RULES.validate_update(&new, &old, Part::Main).errors.is_empty());
}

#[test]
fn deletion_waits_for_the_objects() {
    let mut object = definition(|_| {});
    object.set_meta("deletionTimestamp", "2024-01-01T00:00:00Z");
    RULES.begin_deletion(&mut object);
    assert_eq!(object.finalizers(), [CLEANUP]);
    assert_eq!(object["status"]["conditions"][0]["reason"], "InstanceDeletionPending");
}
