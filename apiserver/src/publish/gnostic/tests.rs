use serde_json::json;

use super::*;

/// The fields of a message: number and content (of numbers, their value as bytes).
fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    fn number(bytes: &mut &[u8]) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return value;
            }
        }
    }
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let tag = number(&mut bytes);
        let content = match tag & 7 {
            0 => number(&mut bytes).to_le_bytes().to_vec(),
            1 => {
                let (head, rest) = bytes.split_at(8);
                bytes = rest;
                head.to_vec()
            }
            2 => {
                let length = number(&mut bytes) as usize;
                let (head, rest) = bytes.split_at(length);
                bytes = rest;
                head.to_vec()
            }
            other => panic!("wire type {other}"),
        };
        found.push((tag >> 3, content));
    }
    found
}

/// Follows field numbers (the first of each) into a message.
fn at(bytes: &[u8], path: &[u64]) -> Vec<u8> {
    path.iter().fold(bytes.to_vec(), |bytes, number| {
        fields(&bytes).into_iter().find(|(n, _)| n == number).unwrap_or_else(|| panic!("{number}")).1
    })
}

#[test]
fn a_document_is_encoded_as_gnostic_numbers_it() {
    let document = json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "v1"},
        "paths": {"/x/{name}": {"get": {
            "operationId": "getX",
            "parameters": [{"name": "name", "in": "path", "type": "string", "uniqueItems": true, "required": true}],
            "responses": {"200": {"description": "OK", "schema": {"$ref": "#/definitions/X"}}},
            "x-kubernetes-action": "get",
        }}},
        "definitions": {"X": {
            "type": "object",
            "required": ["a"],
            "properties": {
                "a": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
                "m": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 1.5}},
                "free": {"type": "object", "additionalProperties": true, "default": {"k": 1}},
            },
            "x-kubernetes-group-version-kind": [{"group": "", "kind": "X", "version": "v1"}],
        }},
    });
    let bytes = encode(&document);
    let text = |path: &[u64]| String::from_utf8(at(&bytes, path)).unwrap();
    assert_eq!(text(&[1]), "2.0");
    assert_eq!(text(&[2, 1]), "Kubernetes");
    assert_eq!(text(&[8, 2, 1]), "/x/{name}");
    let get = [8, 2, 2, 2];
    let below = |path: &[u64]| text(&[&get[..], path].concat());
    assert_eq!(below(&[5]), "getX");
    assert_eq!(below(&[8, 1, 2, 4, 4]), "name");
    assert_eq!(below(&[9, 1, 1]), "200");
    assert_eq!(below(&[9, 1, 2, 1, 2, 1, 1]), "#/definitions/X");
    assert_eq!((below(&[13, 1]), below(&[13, 2, 2])), ("x-kubernetes-action".into(), "\"get\"".into()));
    let schema = at(&bytes, &[9, 1, 2]);
    assert_eq!(at(&schema, &[22, 1]), b"object");
    assert_eq!(at(&schema, &[19]), b"a");
    let kinds: Value = serde_json::from_slice(&at(&schema, &[31, 2, 2])).unwrap();
    assert_eq!(kinds[0]["kind"], "X");
    let properties: Vec<Vec<u8>> = fields(&at(&schema, &[25])).into_iter().map(|(_, p)| p).collect();
    let property =
        |name: &str| properties.iter().find(|p| at(p, &[1]) == name.as_bytes()).map(|p| at(p, &[2])).unwrap();
    assert_eq!(at(&property("a"), &[23, 1, 22, 1]), b"string");
    assert_eq!(at(&property("m"), &[21, 1, 9]), 1.5_f64.to_le_bytes());
    assert_eq!(at(&property("free"), &[21, 2]), 1_u64.to_le_bytes());
    assert_eq!(at(&property("free"), &[5, 2]), br#"{"k":1}"#);
}
