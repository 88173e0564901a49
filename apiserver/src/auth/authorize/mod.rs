//! Who may do what. Every request and every access review asks here and nowhere else.
//!
//! The modes are asked in the order of `--authorization-mode`, and the first one that allows an action decides;
//! `system:masters` may do everything. Counterpart of upstream's `apiserver/pkg/authorization`.

pub mod escalation;
mod nodes;
mod roles;
pub mod rules;

use std::str::FromStr;

use api::{Message, message, selector::FieldSelector, status::Status};
use k8s_openapi::api::rbac::v1::PolicyRule;
use machinery::pki::{KUBELET_API_ADMIN, KUBELET_CLIENT};
use serde_json::{Value, json};

use super::{ANONYMOUS, User};
use crate::{
    request::ResourcePath,
    watch_cache::{Index, WatchCache},
};

pub use escalation::check as check_escalation;
pub use machinery::pki::MASTERS;
use nodes::Relations;
pub use nodes::identity as node_identity;
use roles::Roles;
pub use rules::quoted;

/// What somebody wants to do, in RBAC's words.
#[derive(Debug, Clone, Copy)]
pub enum Action<'a> {
    /// Something with a resource.
    Resource {
        /// `get`, `list`, `create`, …
        verb: &'a str,
        /// "" for the core group.
        group: &'a str,
        /// In the plural.
        resource: &'a str,
        /// "" for the object itself.
        subresource: &'a str,
        /// "" for what lies in no namespace, and for all namespaces.
        namespace: &'a str,
        /// "" for all objects.
        name: &'a str,
        /// Which objects are selected, if not all.
        fields: Option<&'a FieldSelector>,
    },
    /// Something with another path.
    Path {
        /// The HTTP method in lower case.
        verb: &'a str,
        /// The path.
        path: &'a str,
    },
}

impl<'a> Action<'a> {
    /// What is done to the resource that a path leads to; `selected` is the one object if the path names none.
    pub fn on(
        path: &'a ResourcePath,
        verb: &'a str,
        selected: Option<&'a str>,
        fields: Option<&'a FieldSelector>,
    ) -> Self {
        Self::Resource {
            verb,
            group: &path.group,
            resource: &path.resource,
            subresource: path.subresource.as_deref().unwrap_or(""),
            namespace: path.place().unwrap_or(""),
            name: path.name.as_deref().or(selected).unwrap_or(""),
            fields,
        }
    }

    fn namespace(&self) -> &str {
        match self {
            Self::Resource { namespace, .. } => namespace,
            Self::Path { .. } => "",
        }
    }
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether it may be done.
    pub allowed: bool,
    /// Why; often nothing.
    pub reason: String,
}

impl Decision {
    /// What `user` is told who has asked for `action`.
    ///
    /// # Errors
    /// 403.
    pub fn refusing(self, user: &User, action: &Action<'_>) -> Result<(), Status> {
        if self.allowed {
            return Ok(());
        }
        let mut why = refusal(user, action);
        if !self.reason.is_empty() {
            why = format!("{why}: {}", self.reason);
        }
        Err(match action {
            Action::Resource { group, resource, name, .. } => Status::forbidden(resource, group, name, why),
            Action::Path { .. } => Status::forbidden("", "", "", why),
        })
    }
}

/// Who decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// All may be done by whoever has shown who he is.
    AlwaysAllow,
    /// Nothing may be done.
    AlwaysDeny,
    /// Kubelets read what their pods need.
    Node,
    /// Roles and bindings.
    Rbac,
}

impl FromStr for Mode {
    type Err = Message;

    fn from_str(text: &str) -> Result<Self, Message> {
        Ok(match text {
            "AlwaysAllow" => Self::AlwaysAllow,
            "AlwaysDeny" => Self::AlwaysDeny,
            "Node" => Self::Node,
            "RBAC" => Self::Rbac,
            _ => return Err(message!("{text:?} is not a valid mode: Node, RBAC, AlwaysAllow or AlwaysDeny")),
        })
    }
}

/// Paths that are open to all also where nobody has roles.
const OPEN_PATHS: &[&str] = &["/healthz", "/livez", "/readyz", "/version", "/version/"];

/// Decides.
pub struct Authorizer {
    modes: Vec<Mode>,
    roles: Index<Roles>,
    nodes: Index<Relations>,
    /// What all nodes may do.
    node_rules: Vec<PolicyRule>,
}

impl Authorizer {
    /// One that asks these modes. All nodes may do what `node_rules` allow.
    pub fn new(modes: &[Mode], cache: &WatchCache, node_rules: Vec<PolicyRule>) -> Self {
        Self {
            modes: modes.to_vec(),
            roles: Index::new(cache, &roles::RESOURCES),
            nodes: Index::new(cache, &nodes::RESOURCES),
            node_rules,
        }
    }

    /// Whether a mode is asked.
    pub fn asks(&self, mode: Mode) -> bool {
        self.modes.contains(&mode)
    }

    /// Whether `user` may do `action`. This server itself may nothing under the name by which kubelets know it, so that
    /// a node that claims to be at an API server's address leads nowhere.
    pub fn authorize(&self, user: &User, action: &Action<'_>) -> Decision {
        if is_for_kubelets(user) && !is_open(action) {
            return Decision { allowed: false, reason: "this identity is for kubelets alone".into() };
        }
        if user.groups.iter().any(|group| group == MASTERS) {
            return Decision { allowed: true, reason: String::new() };
        }
        let mut reasons = Vec::new();
        for mode in &self.modes {
            match self.ask(*mode, user, action) {
                Ok(reason) => return Decision { allowed: true, reason },
                Err(reason) => reasons.push(reason),
            }
        }
        reasons.retain(|reason| !reason.is_empty());
        Decision {
            allowed: false,
            reason: reasons.iter().map(|reason| &**reason).collect::<Vec<_>>().join("\n"),
        }
    }

    /// Why a mode allows an action.
    ///
    /// # Errors
    /// Why it does not.
    fn ask(&self, mode: Mode, user: &User, action: &Action<'_>) -> Result<String, Message> {
        match mode {
            Mode::AlwaysAllow if user.name != ANONYMOUS || is_open(action) => Ok(String::new()),
            Mode::AlwaysAllow => Err("".into()),
            Mode::AlwaysDeny => Err("Everything is forbidden.".into()),
            Mode::Node => {
                let Some(node) = nodes::identity(user) else { return Err("".into()) };
                if node.is_empty() {
                    return Err(message!("unknown node for user {:?}", user.name));
                }
                self.nodes.read().allow(node, action, &self.node_rules).map(|()| String::new())
            }
            Mode::Rbac => self.roles.read().allow(user, action),
        }
    }

    /// Lets `user` do `action`.
    ///
    /// # Errors
    /// 403.
    pub fn permit(&self, user: &User, action: &Action<'_>) -> Result<(), Status> {
        self.authorize(user, action).refusing(user, action)
    }

    /// What `user` may do in a namespace, as the status of a SelfSubjectRulesReview.
    pub fn rules(&self, user: &User, namespace: &str) -> Value {
        let (mut resources, mut paths) = (Vec::new(), Vec::new());
        let (mut incomplete, mut errors) = (false, Vec::new());
        for mode in &self.modes {
            match mode {
                Mode::AlwaysAllow => {
                    resources.push(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
                    paths.push(json!({"verbs": ["*"], "nonResourceURLs": ["*"]}));
                }
                Mode::AlwaysDeny => {}
                Mode::Node if nodes::identity(user).is_some() => {
                    incomplete = true;
                    errors.push("node authorizer does not support user rule resolution".to_owned());
                }
                Mode::Node => {}
                Mode::Rbac => {
                    let roles = self.roles.read();
                    let (rules, gone) = roles.of(user, namespace);
                    errors.extend(Some(roles::not_found(&gone, None)).filter(|error| !error.is_empty()));
                    let (on_paths, on_resources): (Vec<_>, Vec<_>) = rules.into_iter().partition(|rule| {
                        rule.resources.as_ref().is_none_or(Vec::is_empty) && rule.non_resource_urls.is_some()
                    });
                    resources.extend(on_resources.into_iter().map(|rule| json!(rule)));
                    paths.extend(on_paths.into_iter().map(|rule| json!(rule)));
                }
            }
        }
        let mut status =
            json!({"incomplete": incomplete, "resourceRules": resources, "nonResourceRules": paths});
        match errors.as_slice() {
            [] => {}
            [error] => status["evaluationError"] = json!(error),
            errors => status["evaluationError"] = json!(format!("[{}]", errors.join(", "))),
        }
        status
    }
}

fn is_open(action: &Action<'_>) -> bool {
    matches!(action, Action::Path { verb: "get", path } if OPEN_PATHS.contains(path))
}

/// Whether somebody is an API server as kubelets know it.
fn is_for_kubelets(user: &User) -> bool {
    user.name == KUBELET_CLIENT || user.groups.iter().any(|group| group == KUBELET_API_ADMIN)
}

/// The sentence in a refusal.
fn refusal(user: &User, action: &Action<'_>) -> String {
    match action {
        Action::Path { verb, path } => format!("User {:?} cannot {verb} path {path:?}", user.name),
        Action::Resource { verb, group, resource, subresource, namespace, .. } => {
            let place = if namespace.is_empty() {
                "at the cluster scope".to_owned()
            } else {
                format!("in the namespace {namespace:?}")
            };
            let what = if subresource.is_empty() {
                (*resource).to_owned()
            } else {
                format!("{resource}/{subresource}")
            };
            format!("User {:?} cannot {verb} resource {what:?} in API group {group:?} {place}", user.name)
        }
    }
}

#[cfg(test)]
mod tests;
