//! What a request is about, read from its method and path.
//!
//! Counterpart of upstream's `apiserver/pkg/endpoints/request.RequestInfo`. Paths are parsed by hand since
//! kinds come and go while the server runs; whether the resource exists is decided later.

use http::Method;

/// The address of a resource request: everything below `/api/v1` or `/apis/<group>/<version>`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourcePath {
    /// "" for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Namespace, if the path has one.
    pub namespace: Option<String>,
    /// Resource in the plural, e.g. `pods`.
    pub resource: String,
    /// Object name.
    pub name: Option<String>,
    /// Subresource, e.g. `status`.
    pub subresource: Option<String>,
    /// What follows the subresource (`proxy/...`), without its leading slash.
    pub rest: Option<String>,
    /// True for the old `/api/v1/watch/...` form.
    pub watch_prefix: bool,
}

impl ResourcePath {
    /// The namespace that a request is in to those who permit it and find its place: a request to a namespace is in
    /// that one.
    pub fn place(&self) -> Option<&str> {
        let own = || self.name.as_deref().filter(|_| self.resource == "namespaces");
        self.namespace.as_deref().or_else(own)
    }

    /// Whether it leads into a pod's containers.
    pub fn connects(&self) -> bool {
        self.group.is_empty()
            && self.resource == "pods"
            && matches!(self.subresource.as_deref(), Some("exec" | "attach" | "portforward"))
    }
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A resource.
    Resource(ResourcePath),
    /// `/api`, `/apis`, `/api/v1`, `/apis/<group>[/<version>]`: the group and version asked for.
    Discovery(Discovery),
    /// Anything else: health, metrics, version, OpenAPI, or unknown.
    Other,
}

/// Which discovery document is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Discovery {
    /// `/api`
    CoreVersions,
    /// `/apis`
    Groups,
    /// `/apis/<group>`
    Group(String),
    /// `/api/v1` (empty group) and `/apis/<group>/<version>`
    Resources(String, String),
}

/// Percent-decodes one path segment; `None` when it is not UTF-8 or hides a slash.
fn segment(raw: &str) -> Option<String> {
    let text = percent_encoding::percent_decode_str(raw).decode_utf8().ok()?;
    if text.contains('/') || text.contains('\0') { None } else { Some(text.into_owned()) }
}

/// Reads a path (without its query).
pub fn parse(path: &str) -> Target {
    parse_segments(path).unwrap_or(Target::Other)
}

fn parse_segments(path: &str) -> Option<Target> {
    let trimmed = path.strip_prefix('/')?;
    let mut raw: Vec<&str> = trimmed.split('/').collect();
    if raw.len() > 1 && raw.last() == Some(&"") {
        raw.pop();
    }
    let (group, version, at) = match raw[0] {
        "api" if raw.len() == 1 => return Some(Target::Discovery(Discovery::CoreVersions)),
        "apis" if raw.len() == 1 => return Some(Target::Discovery(Discovery::Groups)),
        "apis" if raw.len() == 2 => return Some(Target::Discovery(Discovery::Group(segment(raw[1])?))),
        "api" => (String::new(), segment(raw[1])?, 2),
        "apis" => (segment(raw[1])?, segment(raw[2])?, 3),
        _ => return None,
    };
    let mut rest = &raw[at..];
    if rest.is_empty() {
        return Some(Target::Discovery(Discovery::Resources(group, version)));
    }
    let mut out = ResourcePath { group, version, ..ResourcePath::default() };
    if rest[0] == "watch" && rest.len() > 1 {
        out.watch_prefix = true;
        rest = &rest[1..];
    }
    // "namespaces/<ns>/<resource>" is a namespaced path, but "namespaces/<ns>" and its own two
    // subresources are about the namespace itself.
    if rest[0] == "namespaces" && rest.len() > 2 && !matches!(rest[2], "status" | "finalize") {
        out.namespace = Some(segment(rest[1])?);
        rest = &rest[2..];
    }
    out.resource = segment(rest[0])?;
    if let Some(name) = rest.get(1) {
        out.name = Some(segment(name)?);
    }
    if let Some(subresource) = rest.get(2) {
        out.subresource = Some(segment(subresource)?);
    }
    if rest.len() > 3 {
        // The remainder belongs to whoever is behind the proxy: kept as it came.
        out.rest = Some(rest[3..].join("/") + if path.ends_with('/') { "/" } else { "" });
    } else if out.subresource.as_deref() == Some("proxy") && path.ends_with('/') {
        out.rest = Some(String::new());
    }
    if out.resource.is_empty() || out.name.as_deref() == Some("") || out.namespace.as_deref() == Some("") {
        return None;
    }
    Some(Target::Resource(out))
}

/// What the caller wants to do, in RBAC's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Read one object.
    Get,
    /// Read many.
    List,
    /// Follow changes.
    Watch,
    /// Make a new one.
    Create,
    /// Replace.
    Update,
    /// Change a part.
    Patch,
    /// Delete one.
    Delete,
    /// Delete many.
    DeleteCollection,
}

impl Verb {
    /// The verb as RBAC, discovery and metrics spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }

    /// Whether it changes anything.
    pub fn is_mutating(self) -> bool {
        !matches!(self, Self::Get | Self::List | Self::Watch)
    }

    /// The verb of a request; `None` for methods the API does not know. Below `watch/` the path alone says it, as
    /// upstream; nothing but GET is answered there.
    pub fn of(method: &Method, path: &ResourcePath, watch: bool) -> Option<Self> {
        let named = path.name.is_some();
        Some(match *method {
            _ if path.watch_prefix => Self::Watch,
            Method::GET | Method::HEAD if watch => Self::Watch,
            Method::GET | Method::HEAD if named => Self::Get,
            Method::GET | Method::HEAD => Self::List,
            Method::POST => Self::Create,
            Method::PUT if named => Self::Update,
            Method::PATCH if named => Self::Patch,
            Method::DELETE if named => Self::Delete,
            Method::DELETE => Self::DeleteCollection,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests;
