//! Who may do what. Every request and every access review asks here and nowhere else.
//!
//! There are no roles yet: whoever is identified may do everything, and nobody else anything but ask for the
//! server's health and version. As little may this server itself under the name by which kubelets know it, so that a node
//! that claims to be at an API server's address leads nowhere. Counterpart of upstream's `apiserver/pkg/authorization/authorizer`.

use serde_json::{Value, json};

use machinery::pki::{KUBELET_API_ADMIN, KUBELET_CLIENT};

use super::{ANONYMOUS, UNAUTHENTICATED, User};

/// What somebody wants to do, in RBAC's words.
#[derive(Debug, Clone, Copy)]
pub enum Action<'a> {
    /// Something with a resource.
    Resource {
        /// `get`, `list`, `create`, …
        verb: &'a str,
        /// "" for the core group.
        group: &'a str,
        /// In the plural, with the subresource behind a slash.
        resource: &'a str,
        /// "" for what lies in no namespace, and for all namespaces.
        namespace: &'a str,
        /// "" for all objects.
        #[expect(dead_code, reason = "only roles tell objects of a resource apart")]
        name: &'a str,
    },
    /// Something with another path.
    Path {
        /// The HTTP method in lower case.
        verb: &'a str,
        /// The path.
        path: &'a str,
    },
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Whether it may be done.
    pub allowed: bool,
    /// Why.
    pub reason: &'static str,
}

/// What all may read, as upstream's role `system:public-info-viewer` has it.
const OPEN_PATHS: &[&str] = &["/healthz", "/livez", "/readyz", "/version", "/version/"];

/// Whether `user` may do `action`.
pub fn authorize(user: &User, action: &Action<'_>) -> Decision {
    if may_act(user) {
        return Decision { allowed: true, reason: "whoever is identified may do everything" };
    }
    let open = matches!(action, Action::Path { verb: "get", path } if OPEN_PATHS.contains(path));
    Decision {
        allowed: open,
        reason: match open {
            true => "open to all",
            false if is_for_kubelets(user) => "this identity is for kubelets alone",
            false => "only identified callers are let in",
        },
    }
}

/// What `user` may do in a namespace, as the status of a SelfSubjectRulesReview.
pub fn rules(user: &User, _namespace: &str) -> Value {
    let all = may_act(user);
    let resources = json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]);
    let paths = if all { json!(["*"]) } else { json!(OPEN_PATHS) };
    json!({
        "incomplete": false,
        "resourceRules": if all { resources } else { json!([]) },
        "nonResourceRules": [{"verbs": [if all { "*" } else { "get" }], "nonResourceURLs": paths}],
    })
}

/// The sentence in a refusal.
pub fn refusal(user: &User, action: &Action<'_>) -> String {
    match action {
        Action::Path { verb, path } => format!("User {:?} cannot {verb} path {path:?}", user.name),
        Action::Resource { verb, group, resource, namespace, .. } => {
            let place = if namespace.is_empty() {
                "at the cluster scope".to_owned()
            } else {
                format!("in the namespace {namespace:?}")
            };
            format!("User {:?} cannot {verb} resource {resource:?} in API group {group:?} {place}", user.name)
        }
    }
}

fn may_act(user: &User) -> bool {
    is_identified(user) && !is_for_kubelets(user)
}

/// Whether somebody is an API server as kubelets know it.
fn is_for_kubelets(user: &User) -> bool {
    user.name == KUBELET_CLIENT || user.groups.iter().any(|g| g == KUBELET_API_ADMIN)
}

fn is_identified(user: &User) -> bool {
    user.name != ANONYMOUS && !user.groups.iter().any(|g| g == UNAUTHENTICATED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_may_ask_for_health_and_version_alone() {
        let bob = User { name: "bob".into(), ..User::default() };
        let nobody = User { groups: vec!["system:unauthenticated".into()], ..User::default() };
        let groups = vec![KUBELET_API_ADMIN.to_owned(), "system:authenticated".to_owned()];
        let server = User { name: "any".into(), groups, ..User::default() };
        let groups = vec!["system:masters".to_owned()];
        let masterly = User { name: KUBELET_CLIENT.into(), groups, ..User::default() };
        let pods = Action::Resource { verb: "get", group: "", resource: "pods", namespace: "a", name: "" };
        let path = |verb, path| Action::Path { verb, path };
        for (user, action, allowed) in [
            (&bob, pods, true),
            (&bob, path("get", "/livez"), true),
            (&bob, path("get", "/livez/etcd"), true),
            (&server, pods, false),
            (&server, path("get", "/api"), false),
            (&server, path("get", "/livez"), true),
            (&masterly, pods, false),
            (&nobody, pods, false),
            (&nobody, path("get", "/livez"), true),
            (&nobody, path("get", "/version/"), true),
            (&nobody, path("get", "/livez/"), false),
            (&nobody, path("get", "/livez/etcd"), false),
            (&nobody, path("post", "/version"), false),
        ] {
            assert_eq!(authorize(user, &action).allowed, allowed, "{user:?} {action:?}");
        }
        for user in [&nobody, &server, &masterly] {
            assert_eq!(rules(user, "a")["resourceRules"], json!([]));
        }
        assert_eq!(
            refusal(&bob, &pods),
            "User \"bob\" cannot get resource \"pods\" in API group \"\" in the namespace \"a\""
        );
    }
}
