use super::*;

/// The list above `GetRequestAttributes` upstream.
#[test]
fn a_path_belongs_to_subresources() {
    for (path, expected) in [
        ("/metrics", "metrics"),
        ("/metrics/resource", "metrics"),
        ("/stats/summary", "stats"),
        ("/statsx", "proxy"),
        ("/logs/", "log"),
        ("/checkpoint/ns/pod/c", "checkpoint"),
        ("/pods", "pods proxy"),
        ("/podsx", "proxy"),
        ("/runningpods/", "pods proxy"),
        ("/healthz/syncloop", "healthz proxy"),
        ("/configz", "configz proxy"),
        ("/containerLogs/ns/pod/c", "proxy"),
        ("/exec/ns/pod/c", "proxy"),
        ("/", "proxy"),
    ] {
        assert_eq!(subresources(path).join(" "), expected, "{path}");
    }
}

#[test]
fn a_session_is_created_whatever_the_method() {
    for (path, with_get) in [
        ("/exec/ns/pod/c", "create"),
        ("/attach/ns/pod/uid/c", "create"),
        ("/portForward/ns/pod", "create"),
        ("/run/ns/pod/c", "create"),
        ("//exec/ns/pod/c", "create"),
        ("/runningpods/", "get"),
        ("/containerLogs/ns/pod/c", "get"),
        ("/execute", "get"),
    ] {
        assert_eq!(verb(&Method::GET, path), with_get, "{path}");
        assert_eq!(verb(&Method::POST, path), "create", "{path}");
    }
}
