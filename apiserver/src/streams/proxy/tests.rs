use super::*;

#[test]
fn names_carry_scheme_and_port() {
    let name = |tls, name, port| Some(Name { tls, name, port });
    for (text, expected) in [
        ("web", name(false, "web", "")),
        ("web:80", name(false, "web", "80")),
        ("web:http", name(false, "web", "http")),
        ("https:web:", name(true, "web", "")),
        ("https:web:443", name(true, "web", "443")),
        ("http:web:metrics", name(false, "web", "metrics")),
        (":web:80", name(false, "web", "80")),
        ("ftp:web:21", None),
        ("a:b:c:d", None),
        (":80", None),
        ("", None),
    ] {
        assert_eq!(Name::parse(text), expected, "{text}");
    }
}

#[test]
fn the_rest_of_the_path_is_the_backends() {
    for (path, rest, expected) in [
        ("/api/v1/nodes/n/proxy", None, ("/api/v1/nodes/n/proxy", "/")),
        ("/api/v1/nodes/n/proxy/", Some(""), ("/api/v1/nodes/n/proxy", "/")),
        ("/api/v1/nodes/n/proxy/a%2Fb/", Some("a%2Fb/"), ("/api/v1/nodes/n/proxy", "/a%2Fb/")),
    ] {
        assert_eq!(split_path(path, rest), (expected.0, expected.1.to_owned()));
    }
}

#[test]
fn redirects_lead_through_the_proxy() {
    let prefix = "/api/v1/namespaces/a/pods/p/proxy";
    let through = format!("{prefix}/x?y=1");
    let absolute = format!("https://skiff:6443{prefix}/x?y=1");
    for (location, expected) in [
        ("/x?y=1", through.as_str()),
        ("http://10.0.0.1:80/x?y=1", &through),
        ("//10.0.0.1:80/x?y=1", &through),
        (&through, &through),
        ("https://skiff:6443/x?y=1", &absolute),
        ("x?y=1", "x?y=1"),
        ("https://elsewhere/x", "https://elsewhere/x"),
        ("?a=://b", "?a=://b"),
    ] {
        assert_eq!(relocate(location, prefix, "10.0.0.1:80", "skiff:6443"), expected, "{location}");
    }
}

#[test]
fn what_identifies_the_caller_stays_here() {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("authorization", "Bearer secret"),
        ("connection", "Upgrade, X-Hop"),
        ("upgrade", "websocket"),
        ("x-hop", "1"),
        ("cookie", "c=1"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let plain = onward_headers(headers.clone(), false);
    assert_eq!(plain.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["cookie"]);
    let upgrade = onward_headers(headers, true);
    assert_eq!(
        (&upgrade["connection"], &upgrade["upgrade"]),
        (&"Upgrade".parse().unwrap(), &"websocket".parse().unwrap())
    );
}
