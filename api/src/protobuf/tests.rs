#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// A field of bytes.
fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
    assert!(content.len() < 128, "one length byte");
    [&[number << 3 | 2, content.len() as u8], content].concat()
}

/// A field with a small number.
fn number(field: u8, value: u8) -> Vec<u8> {
    vec![field << 3, value]
}

fn envelope(version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let meta = [bytes(1, version.as_bytes()), bytes(2, kind.as_bytes())].concat();
    [MAGIC.to_vec(), bytes(1, &meta), bytes(2, raw)].concat()
}

#[test]
fn a_config_map() {
    let meta = [bytes(1, b"a"), bytes(2, b""), bytes(8, b"")].concat();
    let data = [bytes(1, b"k"), bytes(2, b"v")].concat();
    let binary = [bytes(1, b"b"), bytes(2, &[0, 1])].concat();
    let raw = [bytes(1, &meta), bytes(2, &data), bytes(3, &binary)].concat();
    assert_eq!(
        decode(&envelope("v1", "ConfigMap", &raw)).unwrap(),
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
    let object = decode(&envelope("apps/v1", "Deployment", &bytes(2, &spec))).unwrap();
    assert_eq!(object["spec"], json!({"replicas": 0}));
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
        let pod = decode(&envelope("v1", "Pod", &raw)).unwrap();
        assert_eq!(pod["spec"]["containers"][0]["livenessProbe"], json!({"httpGet": {"port": expected}}));
    }
}

#[test]
fn options_of_any_group() {
    let raw = number(1, 0);
    let options = decode(&envelope("apps/v1", "DeleteOptions", &raw)).unwrap();
    assert_eq!(options["gracePeriodSeconds"], json!(0));
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
