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
