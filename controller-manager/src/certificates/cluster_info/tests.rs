use super::*;

#[test]
fn what_is_told_of_the_cluster_is_signed_by_each_token_that_may() {
    let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let secret = |id: &str, changes: &[(&str, &str)]| {
        let mut data = serde_json::Map::new();
        for (key, value) in
            [("token-id", id), ("token-secret", "0123456789abcdef"), ("usage-bootstrap-signing", "true")]
                .iter()
                .chain(changes)
        {
            data.insert((*key).to_owned(), json!(base64::prelude::BASE64_STANDARD.encode(value)));
        }
        let name = format!("bootstrap-token-{id}");
        let secret =
            json!({"metadata": {"name": name}, "type": "bootstrap.kubernetes.io/token", "data": data});
        Arc::new(serde_json::from_value(secret).unwrap())
    };
    let secrets = [
        secret("abcdef", &[]),
        secret("aaaaaa", &[("expiration", "2026-01-01T00:00:00Z")]),
        secret("bbbbbb", &[("expiration", "2026-01-01T00:00:01Z")]),
        secret("cccccc", &[("expiration", "tomorrow")]),
        secret("dddddd", &[("usage-bootstrap-signing", "yes")]),
        secret("eeeeee", &[("token-id", "ffffff")]),
        secret("gggggg", &[("token-secret", "")]),
        Arc::new(Secret::default()),
    ];
    let info = |data| serde_json::from_value::<ConfigMap>(json!({"data": data})).unwrap();
    let before = info(json!({"kubeconfig": "how", "jws-kubeconfig-hhhhhh": "gone", "other": "kept"}));
    let after = signed(&before, &secrets, now);
    let keys: Vec<_> = after.data.as_ref().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["jws-kubeconfig-abcdef", "jws-kubeconfig-bbbbbb", "kubeconfig", "other"]);
    let signature = &after.data.as_ref().unwrap()["jws-kubeconfig-abcdef"];
    // As Python's hmac computes it.
    assert_eq!(
        signature,
        "eyJhbGciOiJIUzI1NiIsImtpZCI6ImFiY2RlZiJ9..giTi6eqVJ-UwMzP4-iwO08a6Grno6gVRzMVXY2-kfQg"
    );
    assert_eq!(signed(&after, &secrets, now), after);
    let nothing = info(json!({"jws-kubeconfig-hhhhhh": "kept"}));
    assert_eq!(signed(&nothing, &secrets, now), nothing);
}
