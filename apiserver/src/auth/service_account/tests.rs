use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::*;

fn issuer_of(key: &Path, change: impl FnOnce(&mut TokenRules)) -> TokenIssuer {
    let us = texts(&["https://issuer"]);
    let mut rules = TokenRules { issuers: us.clone(), audiences: us, ..TokenRules::default() };
    change(&mut rules);
    TokenIssuer::load(&rules, key, &[] as &[&Path]).unwrap()
}

fn issuer(dir: &Path, name: &str) -> TokenIssuer {
    let path = dir.join(name);
    let key = rcgen::KeyPair::generate().unwrap();
    std::fs::write(&path, key.serialize_pem()).unwrap();
    issuer_of(&path, |_| {})
}

fn claims(exp: i64) -> Claims {
    Claims {
        aud: vec!["https://issuer".into()],
        exp,
        iat: 1000,
        iss: "https://issuer".into(),
        jti: "1".into(),
        nbf: 1000,
        sub: "system:serviceaccount:a:b".into(),
        bound: bound(),
    }
}

fn bound() -> Bound {
    let reference = |name: &str| ObjectRef { name: name.into(), uid: "u".into() };
    Bound {
        namespace: "a".into(),
        serviceaccount: reference("b"),
        pod: Some(reference("p")),
        secret: None,
        node: None,
        warnafter: None,
    }
}

/// Reads and verifies.
fn verified(
    issuer: &TokenIssuer,
    token: &str,
    wanted: &[String],
    now: i64,
) -> Result<(Arc<Claims>, Vec<String>), Refused> {
    issuer.verify(&Jwt::read(token).ok_or(Refused::Unknown)?, wanted, now)
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn only_own_living_tokens_are_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, other) = (issuer(dir.path(), "a"), issuer(dir.path(), "b"));
    let token = ours.sign(&claims(2000)).unwrap();
    let for_us = texts(&["vault", "https://issuer"]);
    let why = |refused: Refused| refused.to_string();
    let because = |why: &str| Err(format!("[invalid bearer token, {why}]"));
    let verify = |token: &str, now| verified(&ours, token, &for_us, now).map_err(why);
    // The second time it is remembered; that makes it live no longer.
    for _ in 0..2 {
        for now in [940, 1500, 2060] {
            assert_eq!(verify(&token, now), Ok((Arc::new(claims(2000)), texts(&["https://issuer"]))));
        }
        assert_eq!(verify(&token, 2061), because("service account token has expired"));
        assert_eq!(verify(&token, 939), because("service account token is not valid yet"));
    }
    let late = ours.sign(&Claims { iat: 1500, ..claims(2000) }).unwrap();
    assert_eq!(verify(&late, 1400), because("service account token is issued in the future"));
    let audiences = "token audiences [\"https://issuer\"] is invalid for the target audiences [\"vault\"]";
    assert_eq!(verified(&ours, &token, &texts(&["vault"]), 1500).map_err(why), because(audiences));
    let no_key = because("invalid signature, no keys found");
    assert_eq!(verified(&other, &token, &for_us, 1500).map_err(why), no_key, "another key");
    let (signed, _) = token.rsplit_once('.').unwrap();
    let forged = because("go-jose/go-jose: error in cryptographic primitive");
    assert_eq!(verify(&format!("{signed}.{}", "A".repeat(86)), 1500), forged);
    for none in ["a.b.c", "a", "", &format!("{token}="), &format!("{token}.x")] {
        assert_eq!(verify(none, 1500), Err("invalid bearer token".to_owned()), "{none}");
    }
    let foreign = ours.sign(&Claims { iss: "https://other".into(), ..claims(2000) }).unwrap();
    assert_eq!(verify(&foreign, 1500), Err("invalid bearer token".to_owned()));
    // Others find the key that signed by its name.
    let header: serde_json::Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap()).unwrap();
    assert_eq!(ours.key_set()["keys"][0]["kid"], header["kid"]);
}

#[test]
fn tokens_of_other_issuers_and_audiences_are_taken_as_configured() {
    let dir = tempfile::tempdir().unwrap();
    issuer(dir.path(), "a");
    let rules = |rules: &mut TokenRules| {
        rules.issuers.push("https://old".into());
        rules.audiences = texts(&["api"]);
    };
    let ours = issuer_of(&dir.path().join("a"), rules);
    assert_eq!(ours.audiences(), ["api"]);
    let old = Claims { iss: "https://old".into(), aud: Vec::new(), ..claims(2000) };
    let token = ours.sign(&old).unwrap();
    assert!(verified(&ours, &token, &texts(&["api"]), 1500).is_ok(), "of before, for nobody in particular");
    assert!(verified(&ours, &token, &texts(&["https://old"]), 1500).is_err());
}

#[test]
fn only_a_pods_token_for_this_server_lives_longer_than_asked() {
    let dir = tempfile::tempdir().unwrap();
    let ours = issuer(dir.path(), "a");
    let plain = issuer_of(&dir.path().join("a"), |rules| rules.extend = false);
    let (us, alone) = (texts(&["https://issuer"]), Bound { pod: None, ..bound() });
    let year = 365 * 24 * 3600;
    for (what, issuer, seconds, bound, audiences, expected) in [
        ("as mounted", &ours, 3607, bound(), us.clone(), (year, Some(3607))),
        ("for others", &ours, 3607, bound(), texts(&["vault"]), (3607, None)),
        ("for others, too", &ours, 3607, bound(), texts(&["https://issuer", "vault"]), (3607, None)),
        ("without a pod", &ours, 3607, alone, us.clone(), (3607, None)),
        ("for another time", &ours, 3606, bound(), us.clone(), (3606, None)),
        ("where that is off", &plain, 3607, bound(), us, (3607, None)),
    ] {
        assert_eq!(issuer.lifetime(seconds, &bound, &audiences), expected, "{what}");
    }
}
