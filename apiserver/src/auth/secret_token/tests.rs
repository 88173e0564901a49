use serde_json::{Value, json};

use super::*;

#[test]
fn claims_are_whole_and_agree() {
    let whole = json!({
        "iss": account_token::ISSUER,
        "sub": "system:serviceaccount:ns:robot",
        "kubernetes.io/serviceaccount/namespace": "ns",
        "kubernetes.io/serviceaccount/secret.name": "robots",
        "kubernetes.io/serviceaccount/service-account.name": "robot",
        "kubernetes.io/serviceaccount/service-account.uid": "u",
    });
    let read = |claims: &Value| claims_of(claims).map(|claims| (claims.user(), claims.lies_in_secret()));
    let (user, lies_in_secret) = read(&whole).unwrap();
    assert_eq!((user.name.as_str(), user.uid.as_str()), ("system:serviceaccount:ns:robot", "u"));
    assert_eq!(user.extra, BTreeMap::new());
    assert!(lies_in_secret);

    for (claim, why) in [
        ("sub", "sub claim is missing"),
        ("kubernetes.io/serviceaccount/namespace", "namespace claim is missing"),
        ("kubernetes.io/serviceaccount/secret.name", "secretName claim is missing"),
        ("kubernetes.io/serviceaccount/service-account.name", "serviceAccountName claim is missing"),
        ("kubernetes.io/serviceaccount/service-account.uid", "serviceAccountUID claim is missing"),
    ] {
        let mut without = whole.clone();
        without[claim] = json!("");
        assert_eq!(read(&without).unwrap_err(), Refused::because(why));
        without.as_object_mut().unwrap().remove(claim);
        assert_eq!(read(&without).unwrap_err(), Refused::because(why));
    }
    let mut other = whole;
    other["sub"] = json!("system:serviceaccount:ns:admin");
    assert_eq!(read(&other).unwrap_err(), Refused::because("sub claim is invalid"));
}

fn claims_of(claims: &Value) -> Result<Claims, Refused> {
    super::claims(claims.to_string().as_bytes())
}
