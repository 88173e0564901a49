#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;
use crate::kind::{Rules, Typed};

fn secret(fields: Value) -> Value {
    let mut secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}});
    json_patch::merge(&mut secret, &fields);
    Typed::<Secret>::RULES.default(secret).unwrap()
}

#[test]
fn text_becomes_data() {
    let s = secret(json!({"stringData": {"a": "b"}, "data": {"a": "eA==", "c": "eA=="}}));
    assert_eq!(s["data"], json!({"a": "Yg==", "c": "eA=="}));
    assert_eq!(s["type"], "Opaque");
    assert_eq!(s.get("stringData"), None);
}

#[test]
fn types_ask_for_their_keys() {
    let docker = |text: &str| json!({"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": text}});
    for (fields, expected) in [
        (json!({"type": "kubernetes.io/ssh-auth"}), vec!["data[ssh-privatekey]: Required value"]),
        (
            json!({"type": "kubernetes.io/basic-auth"}),
            vec!["data[username]: Required value", "data[password]: Required value"],
        ),
        (json!({"type": "kubernetes.io/basic-auth", "stringData": {"username": "u"}}), vec![]),
        (
            json!({"type": "kubernetes.io/service-account-token"}),
            vec!["metadata.annotations[kubernetes.io/service-account.name]: Required value"],
        ),
        (json!({"type": "my/own"}), vec![]),
        (docker("{}"), vec![]),
        (
            docker("{oops"),
            vec![
                "data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": invalid character 'o' looking for beginning of object key string",
            ],
        ),
        (
            docker("[]"),
            vec![
                "data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": json: cannot unmarshal array into Go value of type map[string]interface {}",
            ],
        ),
    ] {
        let found = Typed::<Secret>::RULES.validate(&secret(fields));
        let said: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        assert_eq!(said, expected);
    }
}
