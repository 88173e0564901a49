use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::json;

use super::*;

const ID: &str = "abcdef";
const SECRET: &str = "0123456789abcdef";

#[test]
fn only_the_form_of_tokens_is_looked_up() {
    assert_eq!(parse("abcdef.0123456789abcdef"), Some((ID, SECRET)));
    for other in [
        "",
        "abcdef",
        "abcdef.",
        "abcdef.0123456789abcde",
        "ABCDEF.0123456789abcdef",
        "../def.0123456789abcdef",
    ] {
        assert_eq!(parse(other), None, "{other}");
    }
}

#[test]
fn a_token_is_good_as_its_secret_says() {
    let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let groups = |changes: &[(&str, &str)]| {
        let mut data = BTreeMap::from([
            ("token-id", ID),
            ("token-secret", SECRET),
            ("usage-bootstrap-authentication", "true"),
        ]);
        data.extend(changes.iter().copied());
        let data: BTreeMap<_, _> =
            data.into_iter().map(|(key, value)| (key, BASE64_STANDARD.encode(value))).collect();
        let token = json!({
            "metadata": {"name": format!("bootstrap-token-{ID}")},
            "type": "bootstrap.kubernetes.io/token",
            "data": data,
        });
        user(&serde_json::from_value(token).unwrap(), SECRET, now).map(|user| {
            assert_eq!(user.name, "system:bootstrap:abcdef");
            user.groups.join(" ")
        })
    };
    let plain = Some("system:bootstrappers system:authenticated");
    let more =
        Some("system:bootstrappers system:bootstrappers:a system:bootstrappers:b:c system:authenticated");
    for (changes, expected) in [
        (&[][..], plain),
        (&[("auth-extra-groups", "system:bootstrappers:b:c,system:bootstrappers:a")], more),
        (&[("auth-extra-groups", "system:masters")], None),
        (&[("auth-extra-groups", "system:bootstrappers:")], None),
        (&[("auth-extra-groups", "system:bootstrappers:a-")], None),
        (&[("token-secret", "0123456789abcdeg")], None),
        (&[("token-secret", "")], None),
        (&[("token-id", "abcdeg")], None),
        (&[("usage-bootstrap-authentication", "yes")], None),
        (&[("expiration", "2026-01-01T00:00:01Z")], plain),
        (&[("expiration", "2026-01-01T00:00:00Z")], None),
        (&[("expiration", "tomorrow")], None),
    ] {
        assert_eq!(groups(changes).as_deref(), expected, "{changes:?}");
    }
    assert!(user(&Secret::default(), SECRET, now).is_none());
}
