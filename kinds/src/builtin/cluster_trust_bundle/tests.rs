#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;
use crate::kind::{Rules as _, Typed};

fn bundle(name: &str, signer: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"signerName": signer, "trustBundle": ""}})
}

fn said(found: crate::kind::Findings) -> Vec<String> {
    found.errors.iter().map(ToString::to_string).collect()
}

#[test]
fn a_signer_s_bundles_are_named_after_it() {
    let rules = Typed::<ClusterTrustBundle>::RULES;
    let prefix = "ClusterTrustBundle for signerName example.com/s must be named with prefix example.com:s:";
    for (name, signer, expected) in [
        ("a.b", "", None),
        ("example.com:s:a", "example.com/s", None),
        ("a:b", "", Some("ClusterTrustBundle without signer name must not have \":\" in its name")),
        ("a", "example.com/s", Some(prefix)),
    ] {
        let expected: Vec<_> =
            expected.iter().map(|why| format!("metadata.name: Invalid value: {name:?}: {why}")).collect();
        assert_eq!(said(rules.validate(&bundle(name, signer))), expected);
    }
    let (old, new) = (bundle("example.com:s:a", "example.com/s"), bundle("example.com:s:a", ""));
    let last = said(rules.validate_update(&new, &old, Part::Main)).pop().unwrap();
    assert_eq!(last, "spec.signerName: Invalid value: \"\": field is immutable");
    assert!(said(rules.validate(&bundle("nodomain:s:a", "nodomain/s")))[0].starts_with("spec.signerName"));
}
