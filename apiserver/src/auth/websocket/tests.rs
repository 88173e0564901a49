use super::*;

#[test]
fn a_token_among_the_protocols_is_a_bearer_token() {
    let token = |text: &str| format!("{TOKEN}{}", URL_SAFE_NO_PAD.encode(text));
    let (secret, other) = (token("secret"), token("other"));
    let both = format!("{secret}, {other}, v4.channel.k8s.io");
    for (protocols, own, expected) in [
        (format!("v4.channel.k8s.io, {secret}"), None, Some(("v4.channel.k8s.io", Some("Bearer secret")))),
        (format!("a, {secret}, b"), Some("Bearer x"), Some(("a, b", Some("Bearer x")))),
        ("a, b".to_owned(), None, Some(("a, b", None))),
        (format!("{TOKEN}, a"), None, Some((&*format!("{TOKEN}, a"), None))),
        (secret.clone(), None, None),
        (both, None, None),
        (format!("{TOKEN}%, a"), None, None),
        (format!("{TOKEN}_w, a"), None, None),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert("connection", "Upgrade".parse().unwrap());
        headers.insert("upgrade", "websocket".parse().unwrap());
        headers.insert("sec-websocket-key", "x".parse().unwrap());
        headers.insert("sec-websocket-protocol", protocols.parse().unwrap());
        if let Some(own) = own {
            headers.insert("authorization", own.parse().unwrap());
        }
        let adopted = adopt(&mut headers).map_err(|status| status.code);
        let told = |name: &str| headers.get(name).map(|value| value.to_str().unwrap());
        match expected {
            None => assert_eq!(adopted, Err(401), "{protocols}"),
            Some((protocol, bearer)) => {
                assert_eq!(adopted, Ok(()));
                assert_eq!((told("sec-websocket-protocol"), told("authorization")), (Some(protocol), bearer));
            }
        }
    }
    // Elsewhere it means nothing.
    let mut headers = HeaderMap::new();
    headers.insert("sec-websocket-protocol", format!("a, {secret}").parse().unwrap());
    adopt(&mut headers).unwrap();
    assert!(!headers.contains_key("authorization"));
}
