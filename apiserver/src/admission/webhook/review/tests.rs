#![allow(clippy::unwrap_used)]

use super::*;
use api::Message;

#[test]
fn answers_are_read_as_upstream_reads_them() {
    let answer = |version: &str, response: Value| {
        json!({"kind": "AdmissionReview", "apiVersion": format!("admission.k8s.io/{version}"), "response": response}).to_string()
    };
    let patch = STANDARD.encode("[]");
    let invalid = |why: &str| Err(format!("received invalid webhook response: {why}"));
    for (version, text, mutating, expected) in [
        ("v1", answer("v1", json!({"uid": "u", "allowed": true})), true, Ok((true, None))),
        ("v1", answer("v1", json!({"uid": "u"})), false, Ok((false, None))),
        (
            "v1",
            answer("v1", json!({"uid": "u", "patch": null, "warnings": null, "status": {"metadata": null}})),
            true,
            Ok((false, None)),
        ),
        (
            "v1",
            answer("v1", json!({"uid": "u", "allowed": true, "patch": patch, "patchType": "JSONPatch"})),
            true,
            Ok((true, Some(b"[]".to_vec()))),
        ),
        ("v1", answer("v1", Value::Null), true, invalid("webhook response was absent")),
        (
            "v1",
            answer("v1", json!({"uid": "x", "allowed": true})),
            true,
            invalid(r#"expected response.uid="u", got "x""#),
        ),
        (
            "v1",
            answer("v1beta1", json!({"uid": "u"})),
            true,
            invalid(
                "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got admission.k8s.io/v1beta1, Kind=AdmissionReview",
            ),
        ),
        (
            "v1",
            answer("v1", json!({"uid": "u", "patch": patch})),
            true,
            invalid("webhook returned response.patch but not response.patchType"),
        ),
        (
            "v1",
            answer("v1", json!({"uid": "u", "patchType": "JSONPatch"})),
            true,
            invalid("webhook returned response.patchType but not response.patch"),
        ),
        (
            "v1",
            answer("v1", json!({"uid": "u", "patch": patch, "patchType": "JSONPatch"})),
            false,
            invalid("validating webhook may not return response.patch"),
        ),
        (
            "v1",
            answer("v1", json!({"uid": "u", "allowed": true, "patch": patch, "patchType": "Merge"})),
            true,
            Err("unsupported patch type \"Merge\"".into()),
        ),
        ("v1", "{}".into(), true, invalid("webhook response was absent")),
        (
            "v1",
            json!({"response": {"uid": "u"}}).to_string(),
            true,
            invalid("expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got /, Kind="),
        ),
        // The old version was not held to so much.
        (
            "v1beta1",
            answer("v1beta1", json!({"allowed": true, "patch": patch})),
            true,
            Ok((true, Some(b"[]".to_vec()))),
        ),
        ("v1beta1", answer("v1beta1", json!({"allowed": true, "patch": patch})), false, Ok((true, None))),
    ] {
        let read = response(text.as_bytes(), version, "u", mutating);
        assert_eq!(
            read.map(|(response, patch)| (response.allowed, patch)),
            expected.map_err(Message::from),
            "{text}"
        );
    }
    let garbage = response(b"garbage", "v1", "u", true).unwrap_err();
    assert!(garbage.starts_with("failed to call webhook: couldn't get version/kind; json parse error: "));
}

#[test]
fn refusals_say_who_refuses_and_why() {
    let status = |value: Value| serde_json::from_value::<Status>(value).unwrap();
    for (said, code, message) in [
        (None, 400, "without explanation"),
        (Some(json!({})), 400, "without explanation"),
        (Some(json!({"code": 200, "status": "Success", "message": "no"})), 400, ": no"),
        (Some(json!({"code": 422, "reason": "Invalid"})), 422, ": Invalid"),
    ] {
        let status = denied("a.b.c", said.map(status));
        let message = if message.starts_with(':') { message.to_owned() } else { format!(" {message}") };
        let expected = format!("admission webhook \"a.b.c\" denied the request{message}");
        assert_eq!((status.code, status.message, status.status), (code, expected, "Failure".to_owned()));
    }
}
