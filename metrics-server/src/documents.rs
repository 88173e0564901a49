//! What the server says of itself: discovery and OpenAPI of `metrics.k8s.io/v1beta1`.

/// The group.
pub const GROUP: &str = "metrics.k8s.io";
/// Group and version.
pub const GROUP_VERSION: &str = "metrics.k8s.io/v1beta1";

/// The document at a path, if it is one. Whoever changes that of OpenAPI v3 gives it another hash in the index.
pub fn find(path: &str) -> Option<&'static str> {
    Some(match path.trim_end_matches('/') {
        "/apis" => include_str!("documents/groups.json"),
        "/apis/metrics.k8s.io" => include_str!("documents/group.json"),
        "/apis/metrics.k8s.io/v1beta1" => include_str!("documents/resources.json"),
        "/openapi/v2" => include_str!("documents/openapi-v2.json"),
        "/openapi/v3" => include_str!("documents/openapi-v3-index.json"),
        "/openapi/v3/apis/metrics.k8s.io/v1beta1" => include_str!("documents/openapi-v3.json"),
        _ => return None,
    })
}
