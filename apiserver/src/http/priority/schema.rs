//! Flow schemas, read from their objects: which requests they are about, and what tells flows apart.

use api::object::ObjectExt as _;
use serde_json::Value;

use crate::{auth::User, request::ResourcePath};

/// A request, as far as flow schemas ask about it.
pub struct RequestDigest<'a> {
    /// The caller.
    pub user: &'a User,
    /// The verb, in RBAC's words; for other paths the method in small letters.
    pub verb: &'a str,
    /// The URL's path.
    pub path: &'a str,
    /// What the path names, if that is a resource.
    pub resource: Option<&'a ResourcePath>,
}

/// One FlowSchema.
#[derive(Debug)]
pub struct Schema {
    /// Its name.
    pub name: String,
    /// Its uid, empty while there is no object of it.
    pub uid: String,
    /// The priority level its requests go to.
    pub level: String,
    precedence: i64,
    flows: Flows,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flows {
    One,
    ByUser,
    ByNamespace,
}

#[derive(Debug)]
struct Rule {
    subjects: Vec<Subject>,
    resources: Vec<ResourceRule>,
    others: Vec<OtherRule>,
}

#[derive(Debug)]
enum Subject {
    User(String),
    Group(String),
    /// Namespace and name, which may be `*`.
    Account(String, String),
}

#[derive(Debug)]
struct ResourceRule {
    verbs: Vec<String>,
    groups: Vec<String>,
    resources: Vec<String>,
    namespaces: Vec<String>,
    cluster: bool,
}

#[derive(Debug)]
struct OtherRule {
    verbs: Vec<String>,
    paths: Vec<String>,
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

fn words(value: &Value, key: &str) -> Vec<String> {
    list(value, key).filter_map(Value::as_str).map(str::to_owned).collect()
}

impl Schema {
    /// Reads an object.
    pub fn read(object: &Value) -> Self {
        let spec = &object["spec"];
        Self {
            name: object.name().to_owned(),
            uid: object.uid().to_owned(),
            level: spec.str_at(&["priorityLevelConfiguration", "name"]).to_owned(),
            precedence: spec["matchingPrecedence"].as_i64().unwrap_or(1000),
            flows: match spec.str_at(&["distinguisherMethod", "type"]) {
                "ByUser" => Flows::ByUser,
                "ByNamespace" => Flows::ByNamespace,
                _ => Flows::One,
            },
            rules: list(spec, "rules").map(Rule::read).collect(),
        }
    }

    /// What schemas are tried by: the lowest first.
    pub fn order(&self) -> (i64, &str) {
        (self.precedence, &self.name)
    }

    /// Whether a request is one of this schema's.
    pub fn matches(&self, request: &RequestDigest<'_>) -> bool {
        self.rules.iter().any(|rule| rule.matches(request))
    }

    /// What tells the flow of a request from others of this schema.
    pub fn distinguisher<'a>(&self, request: &RequestDigest<'a>) -> &'a str {
        match self.flows {
            Flows::One => "",
            Flows::ByUser => &request.user.name,
            Flows::ByNamespace => request.resource.and_then(ResourcePath::place).unwrap_or(""),
        }
    }
}

fn one_of(list: &[String], word: &str) -> bool {
    list.iter().any(|w| w == "*" || w == word)
}

impl Rule {
    fn read(rule: &Value) -> Self {
        let subject = |s: &Value| match s.str_at(&["kind"]) {
            "User" => Some(Subject::User(s.str_at(&["user", "name"]).to_owned())),
            "Group" => Some(Subject::Group(s.str_at(&["group", "name"]).to_owned())),
            "ServiceAccount" => {
                let part = |key: &str| s.str_at(&["serviceAccount", key]).to_owned();
                Some(Subject::Account(part("namespace"), part("name")))
            }
            _ => None,
        };
        let resource = |r: &Value| ResourceRule {
            verbs: words(r, "verbs"),
            groups: words(r, "apiGroups"),
            resources: words(r, "resources"),
            namespaces: words(r, "namespaces"),
            cluster: r["clusterScope"] == true,
        };
        let other = |r: &Value| OtherRule { verbs: words(r, "verbs"), paths: words(r, "nonResourceURLs") };
        Self {
            subjects: list(rule, "subjects").filter_map(subject).collect(),
            resources: list(rule, "resourceRules").map(resource).collect(),
            others: list(rule, "nonResourceRules").map(other).collect(),
        }
    }

    fn matches(&self, request: &RequestDigest<'_>) -> bool {
        if !self.subjects.iter().any(|subject| subject.is(request.user)) {
            return false;
        }
        match request.resource {
            Some(path) => self.resources.iter().any(|rule| rule.matches(request.verb, path)),
            None => self.others.iter().any(|rule| rule.matches(request.verb, request.path)),
        }
    }
}

impl Subject {
    fn is(&self, user: &User) -> bool {
        match self {
            Self::User(name) => name == "*" || *name == user.name,
            Self::Group(name) => name == "*" || user.groups.iter().any(|g| g == name),
            Self::Account(namespace, name) => user
                .name
                .strip_prefix("system:serviceaccount:")
                .and_then(|account| account.split_once(':'))
                .is_some_and(|(ns, account)| ns == namespace && (name == "*" || name == account)),
        }
    }
}

impl ResourceRule {
    fn matches(&self, verb: &str, path: &ResourcePath) -> bool {
        let named = || match &path.subresource {
            None => one_of(&self.resources, &path.resource),
            Some(sub) => self.resources.iter().any(|wanted| {
                wanted == "*"
                    || wanted
                        .strip_prefix(path.resource.as_str())
                        .and_then(|rest| rest.strip_prefix('/'))
                        .is_some_and(|rest| rest == sub)
            }),
        };
        let placed = match path.place() {
            None => self.cluster,
            Some(namespace) => one_of(&self.namespaces, namespace),
        };
        placed && one_of(&self.verbs, verb) && one_of(&self.groups, &path.group) && named()
    }
}

impl OtherRule {
    fn matches(&self, verb: &str, path: &str) -> bool {
        one_of(&self.verbs, verb)
            && self.paths.iter().any(|wanted| match wanted.strip_suffix('*') {
                Some(prefix) => path.starts_with(prefix),
                None => wanted == path,
            })
    }
}
