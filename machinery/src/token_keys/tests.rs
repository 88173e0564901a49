use std::path::PathBuf;

use super::*;

/// Keys as openssl and kubeadm write them, and the digests that upstream calls them by.
fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys").join(name)
}

#[test]
fn keys_are_read_in_every_form_and_check_what_they_sign() {
    for (algorithm, private, public) in [
        ("ES256", &["p256.pkcs8.pem", "p256.sec1.pem", "p256.params.pem"][..], &["p256.pub.pem"][..]),
        ("ES384", &["p384.pkcs8.pem", "p384.sec1.pem"], &["p384.pub.pem"]),
        ("RS256", &["rsa.pkcs8.pem", "rsa.pkcs1.pem"], &["rsa.pub.pem", "rsa.crt.pem"]),
    ] {
        let signing: Vec<_> = private.iter().map(|name| SigningKey::load(&file(name)).unwrap()).collect();
        for key in &signing {
            assert_eq!(key.public(), signing[0].public());
            assert_eq!(key.public().algorithm(), algorithm);
            let signature = key.sign(b"message").unwrap();
            for name in private.iter().chain(public) {
                let found = PublicKey::load_all(&file(name)).unwrap();
                assert_eq!(found, [key.public().clone()], "{name}");
                assert!(found[0].verify(algorithm, b"message", &signature), "{name}");
                assert!(!found[0].verify(algorithm, b"massage", &signature), "{name}");
            }
        }
    }
}

#[test]
fn a_file_may_hold_several_keys_and_other_things() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    let text = |name: &str| std::fs::read_to_string(file(name)).unwrap();
    std::fs::write(
        &path,
        ["a word\n", &text("p256.params.pem"), &text("rsa.crt.pem"), &text("p384.pub.pem")].concat(),
    )
    .unwrap();
    let found = PublicKey::load_all(&path).unwrap();
    let algorithms: Vec<_> = found.iter().map(PublicKey::algorithm).collect();
    assert_eq!(algorithms, ["ES256", "RS256", "ES384"]);
    for (contents, why) in [
        (String::new(), "does not contain"),
        (text("p256.pub.pem"), "does not contain a valid RSA or ECDSA private key"),
        (text("p521.sec1.pem"), "neither RSA nor ECDSA on P-256 or P-384"),
    ] {
        std::fs::write(&path, contents).unwrap();
        let error = format!("{:#}", SigningKey::load(&path).err().unwrap());
        assert!(error.contains(why) && error.contains("keys"), "{error}");
    }
    assert!(PublicKey::load_all(&path).is_err());
}

#[test]
fn others_find_keys_by_their_names_and_parts() {
    let key = |name: &str| PublicKey::load_all(&file(name)).unwrap()[0].json();
    let decoded = |key: &Value, part: &str| URL_SAFE_NO_PAD.decode(key[part].as_str().unwrap()).unwrap();
    let rsa = key("rsa.pub.pem");
    assert_eq!((&rsa["kty"], &rsa["alg"], rsa.get("crv")), (&json!("RSA"), &json!("RS256"), None));
    assert_eq!((decoded(&rsa, "n").len(), decoded(&rsa, "e")), (256, vec![1, 0, 1]));
    let (p256, p384) = (key("p256.pub.pem"), key("p384.pub.pem"));
    assert_eq!((&p256["crv"], decoded(&p256, "x").len()), (&json!("P-256"), 32));
    assert_eq!((&p384["crv"], decoded(&p384, "y").len()), (&json!("P-384"), 48));
    // `openssl pkey -pubin -outform DER | openssl dgst -sha256 -binary | basenc --base64url`
    let names = std::fs::read_to_string(file("names")).unwrap();
    for (line, key) in names.lines().zip([p256, p384, rsa]) {
        assert_eq!(key["kid"], line.trim_end_matches('='));
        assert_eq!(PublicKey::of_json(&key).unwrap().json(), key, "what is read is what was written");
        let mut other = key.clone();
        other["use"] = "enc".into();
        assert!(PublicKey::of_json(&other).is_none());
    }
    for other in [
        json!({}),
        json!({"kty": "oct", "k": "AAAA"}),
        json!({"kty": "RSA", "n": "AQAB"}),
        json!({"kty": "RSA", "n": "not base64", "e": "AQAB"}),
        json!({"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"}),
    ] {
        assert!(PublicKey::of_json(&other).is_none(), "{other}");
    }
}
