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

/// What may be done, as RBAC's rules say it: `*` stands for all.
struct Rule {
    verbs: &'static [&'static str],
    groups: &'static [&'static str],
    resources: &'static [&'static str],
    paths: &'static [&'static str],
}

const EVERYTHING: &[Rule] = &[Rule { verbs: &["*"], groups: &["*"], resources: &["*"], paths: &["*"] }];
const PUBLIC: &[Rule] = &[Rule { verbs: &["get"], groups: &[], resources: &[], paths: OPEN_PATHS }];

/// The rules that are about a user.
fn rules_of(user: &User) -> &'static [Rule] {
    if may_act(user) { EVERYTHING } else { PUBLIC }
}

/// Whether rules allow an action.
fn decide(rules: &[Rule], action: &Action<'_>) -> bool {
    let among = |list: &[&str], wanted: &str| list.iter().any(|entry| *entry == "*" || *entry == wanted);
    rules.iter().any(|rule| match action {
        Action::Resource { verb, group, resource, .. } => {
            among(rule.verbs, verb) && among(rule.groups, group) && among(rule.resources, resource)
        }
        Action::Path { verb, path } => among(rule.verbs, verb) && among(rule.paths, path),
    })
}

/// Whether `user` may do `action`.
pub fn authorize(user: &User, action: &Action<'_>) -> Decision {
    let allowed = decide(rules_of(user), action);
    Decision {
        allowed,
        reason: match allowed {
            true if may_act(user) => "whoever is identified may do everything",
            true => "open to all",
            false if is_for_kubelets(user) => "this identity is for kubelets alone",
            false => "only identified callers are let in",
        },
    }
}

/// What `user` may do in a namespace, as the status of a SelfSubjectRulesReview.
pub fn rules(user: &User, _namespace: &str) -> Value {
    let (mut resources, mut paths) = (Vec::new(), Vec::new());
    for Rule { verbs, groups, resources: named, paths: open } in rules_of(user) {
        if !named.is_empty() {
            resources.push(json!({"verbs": verbs, "apiGroups": groups, "resources": named}));
        }
        if !open.is_empty() {
            paths.push(json!({"verbs": verbs, "nonResourceURLs": open}));
        }
    }
    json!({"incomplete": false, "resourceRules": resources, "nonResourceRules": paths})
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
mod tests;
