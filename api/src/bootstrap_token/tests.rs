use k8s_openapi::ByteString;

use super::*;

#[test]
fn a_token_is_good_as_its_secret_says() {
    let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    for (changes, is_good) in [
        (&[][..], true),
        (&[("token-secret", "")], false),
        (&[("token-id", "abcdeg")], false),
        (&[(SIGNS, "yes")], false),
        (&[(AUTHENTICATES, "true"), (SIGNS, "")], false),
        (&[("expiration", "")], true),
        (&[("expiration", "2026-01-01T00:00:01Z")], true),
        (&[("expiration", "2026-01-01T00:00:00Z")], false),
        (&[("expiration", "tomorrow")], false),
        (&[("expiration", "\u{fffd}")], false),
    ] {
        let usual = [("token-id", "abcdef"), ("token-secret", "0123456789abcdef"), (SIGNS, "true")];
        let data = usual.iter().chain(changes);
        let data =
            data.map(|(key, said)| ((*key).to_owned(), ByteString(said.as_bytes().to_vec()))).collect();
        let mut secret = Secret {
            type_: Some("bootstrap.kubernetes.io/token".into()),
            data: Some(data),
            ..Secret::default()
        };
        secret.metadata.name = Some("bootstrap-token-abcdef".into());
        let good = BootstrapToken::of(&secret).unwrap().good_for(SIGNS, now);
        let expected = is_good.then(|| ("abcdef".into(), "0123456789abcdef".into()));
        assert_eq!(good, expected, "{changes:?}");
        secret.type_ = Some("Opaque".into());
        assert!(BootstrapToken::of(&secret).is_none());
    }
}
