use super::*;

fn resource(path: &str) -> ResourcePath {
    match parse(path) {
        Target::Resource(r) => r,
        other => panic!("{path}: {other:?}"),
    }
}

#[test]
fn paths_of_resources() {
    let r = resource("/api/v1/namespaces/a/pods/p/log");
    assert_eq!(
        (r.group.as_str(), r.version.as_str(), r.namespace.as_deref(), r.resource.as_str()),
        ("", "v1", Some("a"), "pods")
    );
    assert_eq!((r.name.as_deref(), r.subresource.as_deref()), (Some("p"), Some("log")));

    let r = resource("/api/v1/namespaces/a/finalize");
    assert_eq!((r.namespace, r.resource.as_str()), (None, "namespaces"));
    assert_eq!((r.name.as_deref(), r.subresource.as_deref()), (Some("a"), Some("finalize")));

    let places = [
        ("/api/v1/namespaces", None),
        ("/api/v1/namespaces/a", Some("a")),
        ("/api/v1/namespaces/a/status", Some("a")),
        ("/api/v1/namespaces/a/finalize", Some("a")),
        ("/api/v1/watch/namespaces/a", Some("a")),
        ("/api/v1/namespaces/a/pods/p", Some("a")),
        ("/api/v1/nodes/a", None),
    ];
    for (path, place) in places {
        assert_eq!(resource(path).place(), place, "{path}");
    }

    let r = resource("/apis/apps/v1/namespaces/a/deployments");
    assert_eq!((r.group.as_str(), r.resource.as_str(), r.name), ("apps", "deployments", None));

    let r = resource("/api/v1/namespaces/a/services/http:web:80/proxy/x/y/");
    assert_eq!((r.name.as_deref(), r.rest.as_deref()), (Some("http:web:80"), Some("x/y/")));
}

#[test]
fn paths_of_discovery_and_others() {
    assert_eq!(parse("/api"), Target::Discovery(Discovery::CoreVersions));
    assert_eq!(parse("/apis/"), Target::Discovery(Discovery::Groups));
    assert_eq!(parse("/apis/apps/v1"), Target::Discovery(Discovery::Resources("apps".into(), "v1".into())));
    assert_eq!(parse("/healthz"), Target::Other);
    assert_eq!(parse(""), Target::Other);
    assert_eq!(parse("/api/v1/namespaces/a%2Fb/pods"), Target::Other);
}
