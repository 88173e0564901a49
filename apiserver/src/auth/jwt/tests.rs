use std::path::Path;

use machinery::token_keys::SigningKey;

use super::*;

#[test]
fn a_token_without_a_keys_name_is_tried_with_so_many_keys_and_no_more() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../machinery/tests/keys");
    let [one, other] = ["p256.pkcs8.pem", "p384.pkcs8.pem"]
        .map(|name| SigningKey::load(&folder.join(name)).unwrap().public().clone());
    let candidates = |header: &str, keys: &[PublicKey]| {
        let token = [header, r#"{"iss": "a"}"#, ""].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        Jwt::read(&token).unwrap().candidates(keys).len()
    };
    let (nameless, named) = (r#"{"alg": "ES256"}"#, format!(r#"{{"alg": "ES256", "kid": "{}"}}"#, one.id()));
    assert_eq!(candidates(nameless, &[one.clone(), other.clone()]), 2);
    assert_eq!(candidates(&named, &[other.clone(), one]), 1);
    assert_eq!(candidates(nameless, &vec![other; 2 * MOST_TRIED]), MOST_TRIED);
}
