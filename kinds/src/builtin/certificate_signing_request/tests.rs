#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;
use crate::{
    builtin::testing::{made, wrong},
    kind::{Rules, Typed},
};

fn request(change: &Value) -> Value {
    let mut spec = json!({"request": "eA==", "signerName": "example.com/s", "usages": ["client auth"]});
    json_patch::merge(&mut spec, change);
    made::<CertificateSigningRequest>(json!({"metadata": {"name": "r"}, "spec": spec}))
}

fn texts(errors: &Errors) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn requests_say_what_for() {
    for (change, expected) in [
            (json!({}), vec![]),
            (
                json!({"usages": ["client auth", "fun", "client auth"], "expirationSeconds": 10, "signerName": "x"}),
                vec![
                    format!(
                        "spec.usages[1]: Unsupported value: \"fun\": supported values: {}",
                        USAGES.iter().map(|u| format!("{u:?}")).collect::<Vec<_>>().join(", ")
                    ),
                    "spec.usages[2]: Duplicate value: \"client auth\"".into(),
                    "spec.signerName: Invalid value: \"x\": must be a fully qualified domain and path of the form 'example.com/signer-name'".into(),
                    "spec.expirationSeconds: Invalid value: 10: may not specify a duration less than 600 seconds (10 minutes)".into(),
                ],
            ),
            (
                json!({"signerName": "com/a"}),
                vec!["spec.signerName: Invalid value: \"com\": should be a domain with at least two segments separated by dots".into()],
            ),
        ] {
            assert_eq!(wrong::<CertificateSigningRequest>(&request(&change)), expected, "{change}");
        }
}

#[test]
fn approval_is_a_door_of_its_own() {
    let rules = Typed::<CertificateSigningRequest>::RULES;
    let old = request(&json!({}));
    let mut approved = old.clone();
    approved["status"] =
        json!({"conditions": [{"type": "Approved", "status": "True"}], "certificate": "eA=="});
    let refused = rules.validate_update(&approved, &old, Part::Status).errors;
    assert_eq!(
        texts(&refused),
        ["status.conditions: Forbidden: updates may not add a condition of type \"Approved\""]
    );
    rules.prepare_update(&mut approved, &old, Part::Other("approval"));
    assert_eq!(approved["status"].get("certificate"), None);
    assert_eq!(texts(&rules.validate_update(&approved, &old, Part::Other("approval")).errors), [""; 0]);
    let refused = rules.validate_update(&old, &approved, Part::Other("approval")).errors;
    assert_eq!(
        texts(&refused),
        ["status.conditions: Forbidden: updates may not remove a condition of type \"Approved\""]
    );
    let mut both = approved.clone();
    let denied = json!({"type": "Denied", "status": "False"});
    both["status"]["conditions"].as_array_mut().unwrap().push(denied);
    assert_eq!(
        texts(&rules.validate_update(&both, &approved, Part::Other("approval")).errors),
        [
            "status.conditions[1].status: Unsupported value: \"False\": supported values: \"True\"",
            "status.conditions[1].type: Invalid value: \"Denied\": Approved and Denied conditions are mutually exclusive",
        ]
    );
    assert_eq!(condition(&approved), "Approved");
}
