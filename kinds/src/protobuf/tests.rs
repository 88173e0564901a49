#![allow(clippy::unwrap_used)]

mod schemas;

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// A field of bytes.
fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
    assert!(content.len() < 128, "one length byte");
    [&[number << 3 | 2, content.len() as u8], content].concat()
}

/// A field of bytes whose number takes two bytes.
fn far(number: u8, content: &[u8]) -> Vec<u8> {
    [&[0x80 | ((number & 15) << 3) | 2, number >> 4, content.len() as u8], content].concat()
}

/// A field with a small number.
fn number(field: u8, value: u8) -> Vec<u8> {
    vec![field << 3, value]
}

fn envelope(version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let meta = [bytes(1, version.as_bytes()), bytes(2, kind.as_bytes())].concat();
    let length = [(raw.len() & 127) as u8 | 128, (raw.len() >> 7) as u8];
    [MAGIC.to_vec(), bytes(1, &meta), vec![2 << 3 | 2], length.to_vec(), raw.to_vec()].concat()
}

/// A body all of whose fields are known.
fn read(body: &[u8]) -> Value {
    let (object, unknown) = decode(body).unwrap();
    assert_eq!(unknown, Vec::<String>::new());
    object
}

#[test]
fn a_config_map() {
    let meta = [bytes(1, b"a"), bytes(2, b""), bytes(8, b"")].concat();
    let data = [bytes(1, b"k"), bytes(2, b"v")].concat();
    let binary = [bytes(1, b"b"), bytes(2, &[0, 1])].concat();
    let raw = [bytes(1, &meta), bytes(2, &data), bytes(3, &binary)].concat();
    assert_eq!(
        read(&envelope("v1", "ConfigMap", &raw)),
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"},
            "data": {"k": "v"}, "binaryData": {"b": "AAE="},
        })
    );
}

#[test]
fn zero_values_are_kept_only_where_they_mean_something() {
    // spec: replicas 0 (a pointer upstream), minReadySeconds 0 (not one)
    let spec = [number(1, 0), number(5, 0)].concat();
    let object = read(&envelope("apps/v1", "Deployment", &bytes(2, &spec)));
    assert_eq!(object["spec"], json!({"replicas": 0}));
    // spec.strategy.rollingUpdate.maxUnavailable: the number 0
    let none = [number(1, 0), number(2, 0), bytes(3, b"")].concat();
    let spec = bytes(4, &bytes(2, &bytes(1, &none)));
    let object = read(&envelope("apps/v1", "Deployment", &bytes(2, &spec)));
    assert_eq!(object["spec"]["strategy"], json!({"rollingUpdate": {"maxUnavailable": 0}}));
}

#[test]
fn inlined_messages_and_unions() {
    let number_port = [number(1, 0), number(2, 80), bytes(3, b"")].concat();
    let named_port = [number(1, 1), number(2, 0), bytes(3, b"http")].concat();
    for (port, expected) in [(number_port, json!(80)), (named_port, json!("http"))] {
        let get = bytes(2, &bytes(2, &port));
        // container.livenessProbe.handler.httpGet.port
        let container = [bytes(1, b"c"), bytes(10, &bytes(1, &get))].concat();
        let raw = bytes(2, &bytes(2, &container));
        let pod = read(&envelope("v1", "Pod", &raw));
        assert_eq!(pod["spec"]["containers"][0]["livenessProbe"], json!({"httpGet": {"port": expected}}));
    }
}

#[test]
fn options_of_any_group() {
    let raw = number(1, 0);
    let options = read(&envelope("apps/v1", "DeleteOptions", &raw));
    assert_eq!(options["gracePeriodSeconds"], json!(0));
}

#[test]
fn names_are_those_of_json() {
    for (source, expected) in [
        (far(16, &bytes(1, &bytes(1, b"x"))), json!({"downwardAPI": {"items": [{"path": "x"}]}})),
        (far(25, &bytes(1, b"x")), json!({"scaleIO": {"gateway": "x"}})),
    ] {
        // spec.volumes[0] and its source
        let pod = read(&envelope("v1", "Pod", &bytes(2, &bytes(1, &bytes(2, &source)))));
        assert_eq!(pod["spec"]["volumes"][0], expected);
    }
}

#[test]
fn schemas_of_custom_kinds() {
    let string = bytes(5, b"string");
    for (schema, expected) in [
        (far(24, &bytes(1, &string)), json!({"items": {"type": "string"}})),
        (far(24, &[bytes(2, &string), bytes(2, b"")].concat()), json!({"items": [{"type": "string"}, {}]})),
        (far(30, &number(1, 0)), json!({"additionalProperties": false})),
        (far(30, &number(1, 1)), json!({"additionalProperties": true})),
        (
            far(30, &[number(1, 0), bytes(2, &string)].concat()),
            json!({"additionalProperties": {"type": "string"}}),
        ),
        (
            far(32, &[bytes(1, b"a"), bytes(2, &bytes(2, b"b"))].concat()),
            json!({"dependencies": {"a": ["b"]}}),
        ),
        (bytes(8, &bytes(1, br#"{"a": [1]}"#)), json!({"default": {"a": [1]}})),
        (bytes(3, b"#/x"), json!({"$ref": "#/x"})),
        (
            far(29, &[bytes(1, b"p"), bytes(2, &string)].concat()),
            json!({"properties": {"p": {"type": "string"}}}),
        ),
        (vec![0x80 | ((40 & 15) << 3), 40 >> 4, 1], json!({"x-kubernetes-int-or-string": true})),
    ] {
        // spec.versions[0].schema.openAPIV3Schema
        let version = bytes(4, &bytes(1, &schema));
        let kind = read(&envelope(
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            &bytes(2, &bytes(7, &version)),
        ));
        assert_eq!(kind["spec"]["versions"][0]["schema"]["openAPIV3Schema"], expected);
    }
}

#[test]
fn what_the_table_does_not_have_is_told() {
    let container = [bytes(1, b"c"), far(31, b"x")].concat();
    let spec = bytes(2, &container);
    let label = [bytes(1, b"l"), bytes(2, b"v"), number(3, 1)].concat();
    let raw = [bytes(1, &bytes(11, &label)), bytes(2, &spec), bytes(9, b"x")].concat();
    let (pod, unknown) = decode(&envelope("v1", "Pod", &raw)).unwrap();
    assert_eq!(pod["metadata"]["labels"], json!({"l": "v"}));
    let unknown: Vec<&str> = unknown.iter().map(String::as_str).collect();
    assert_eq!(unknown, ["metadata.labels.3", "spec.containers[0].31", "9"]);
    // Not as many of them as a body can hold.
    let many = number(9, 1).repeat(1000);
    assert_eq!(decode(&envelope("v1", "Pod", &many)).unwrap().1.len(), MAX_UNKNOWN);
}

#[test]
fn refusals() {
    assert_eq!(decode(b"{}"), Err(ProtobufError::NoMagic));
    assert!(matches!(decode(&envelope("v1", "Nope", b"")), Err(ProtobufError::Unknown { .. })));
    assert_eq!(decode(&envelope("v1", "Pod", &[0x0a, 0x7f])), Err(Malformed));
}

proptest! {
    #[test]
    fn nothing_panics(raw in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = decode(&envelope("v1", "Pod", &raw));
        let _ = decode(&raw);
    }
}
