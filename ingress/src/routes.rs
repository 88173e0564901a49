//! Which port of which service answers a request: what Ingresses say about hosts and paths, pure.
//!
//! Of two that say something about one host and path the older one counts. What an exact host has no path for is looked
//! up with the wildcard that fits, then with the rules without a host, as these are about all hosts; what no path is for
//! goes to the default backends in the same order. Upstream: the documentation of Ingress; there is no controller in tree.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, Ingress, IngressBackend, IngressClass, IngressRule, ServiceBackendPort,
};

use crate::hosts::Hosts;
use crate::problem::Problem;

/// The controller that IngressClasses name.
pub const CONTROLLER: &str = "skiff.local/ingress";
/// The annotation that named the class before there was a field.
const CLASS: &str = "kubernetes.io/ingress.class";
/// The annotation of the class of those that name none.
const DEFAULT_CLASS: &str = "ingressclass.kubernetes.io/is-default-class";
/// Every place in a path where a shorter one may end is tried, so none is of any length.
const LONGEST_PATH: usize = 1024;

/// A port of a service.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Backend {
    /// The service's namespace, which is that of the Ingress.
    pub namespace: String,
    /// The service.
    pub service: String,
    /// Its port.
    pub port: Port,
}

/// How a port is called.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Port {
    /// By its name.
    Name(String),
    /// By its number.
    Number(i32),
}

impl fmt::Display for Port {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => out.write_str(name),
            Self::Number(number) => write!(out, "{number}"),
        }
    }
}

/// A place in [`Routes::backends`].
pub type BackendId = usize;

/// All rules.
#[derive(Debug, Default)]
pub struct Routes {
    hosts: Hosts<Paths>,
    /// For what no rule is about.
    fallback: Option<BackendId>,
    /// What the rules lead to, each with the first Ingress that says so.
    pub backends: Vec<(Backend, Arc<Ingress>)>,
}

/// What is said about a host.
#[derive(Debug, Default)]
struct Paths {
    exact: HashMap<String, Target>,
    /// Without a slash at their end.
    prefixes: HashMap<String, Target>,
    default: Option<BackendId>,
}

#[derive(Debug)]
struct Target {
    backend: Option<BackendId>,
    /// Namespace and name of the Ingress that says so.
    said_by: Arc<str>,
}

impl Paths {
    fn find(&self, path: &str) -> Option<&Target> {
        if let Some(target) = self.exact.get(path) {
            return Some(target);
        }
        let mut rest = path.strip_suffix('/').unwrap_or(path);
        if let Some(begin) = rest.as_bytes().get(..=LONGEST_PATH) {
            rest = &rest[..begin.iter().rposition(|byte| *byte == b'/')?];
        }
        loop {
            if let Some(target) = self.prefixes.get(rest) {
                return Some(target);
            }
            rest = &rest[..rest.rfind('/')?];
        }
    }
}

impl Routes {
    /// The rules of Ingresses, the oldest first, and what is wrong with them.
    pub fn new(ingresses: &[Arc<Ingress>]) -> (Self, Vec<Problem>) {
        let mut building = Building::default();
        for ingress in ingresses {
            building.ingress(ingress);
        }
        (building.routes, building.problems)
    }

    /// Who answers for a host, in small letters and without a port, and a path.
    pub fn find(&self, host: &str, path: &str) -> Option<BackendId> {
        let fitting = || self.hosts.fitting(host);
        match fitting().find_map(|paths| paths.find(path)) {
            Some(target) => target.backend,
            None => fitting().find_map(|paths| paths.default).or(self.fallback),
        }
    }
}

#[derive(Default)]
struct Building {
    routes: Routes,
    ids: HashMap<Backend, BackendId>,
    problems: Vec<Problem>,
}

impl Building {
    fn ingress(&mut self, ingress: &Arc<Ingress>) {
        let Some(spec) = &ingress.spec else { return };
        let rules = spec.rules.as_deref().unwrap_or_default();
        let default = spec.default_backend.as_ref().and_then(|backend| self.backend(ingress, backend));
        for rule in rules {
            self.rule(ingress, rule, default);
        }
        match default {
            Some(_) if rules.is_empty() && self.routes.fallback.is_some() => {
                self.problems.push(Problem::new(
                    ingress,
                    "Conflict",
                    "an older Ingress has a default backend for all hosts already".to_owned(),
                ))
            }
            _ => self.routes.fallback = self.routes.fallback.or(default),
        }
    }

    fn rule(&mut self, ingress: &Arc<Ingress>, rule: &IngressRule, default: Option<BackendId>) {
        let host = rule.host.as_deref().unwrap_or_default();
        let paths = rule.http.as_ref().map_or(&[][..], |http| &http.paths);
        for path in paths {
            self.path(ingress, host, path);
        }
        if default.is_some() {
            let paths = self.routes.hosts.entry(host);
            paths.default = paths.default.or(default);
        }
    }

    fn path(&mut self, ingress: &Arc<Ingress>, host: &str, rule: &HTTPIngressPath) {
        let path = rule.path.as_deref().unwrap_or("/");
        if path.len() > LONGEST_PATH {
            let why = format!("paths longer than {LONGEST_PATH} bytes are not served");
            return self.problems.push(Problem::new(ingress, "PathTooLong", why));
        }
        let backend = self.backend(ingress, &rule.backend);
        let paths = self.routes.hosts.entry(host);
        // What an implementation may choose is Prefix here.
        let (known, key) = match rule.path_type.as_str() {
            "Exact" => (&mut paths.exact, path),
            _ => (&mut paths.prefixes, path.strip_suffix('/').unwrap_or(path)),
        };
        match known.get(key) {
            Some(older) => {
                let host = if host.is_empty() { "all hosts" } else { host };
                let why = format!(
                    "the path {path} ({}) of {host} is served as the Ingress {} says",
                    rule.path_type, older.said_by
                );
                self.problems.push(Problem::new(ingress, "Conflict", why));
            }
            None => {
                let said_by = key_of(ingress).into();
                known.insert(key.to_owned(), Target { backend, said_by });
            }
        }
    }

    fn backend(&mut self, ingress: &Arc<Ingress>, backend: &IngressBackend) -> Option<BackendId> {
        let Some(service) = &backend.service else {
            let why = "backends that are no services are not served".to_owned();
            self.problems.push(Problem::new(ingress, "BadBackend", why));
            return None;
        };
        let port = match service.port.as_ref()? {
            ServiceBackendPort { name: Some(name), .. } if !name.is_empty() => Port::Name(name.clone()),
            ServiceBackendPort { number, .. } => Port::Number((*number)?),
        };
        let namespace = ingress.metadata.namespace.clone().unwrap_or_default();
        let backend = Backend { namespace, service: service.name.clone(), port };
        let backends = &mut self.routes.backends;
        Some(*self.ids.entry(backend).or_insert_with_key(|backend| {
            backends.push((backend.clone(), Arc::clone(ingress)));
            backends.len() - 1
        }))
    }
}

/// Namespace and name.
pub fn key_of(ingress: &Ingress) -> String {
    let meta = &ingress.metadata;
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    format!("{}/{}", part(&meta.namespace), part(&meta.name))
}

/// The Ingresses of this controller's classes, the oldest first. Those without a class are of the default one.
pub fn ours(ingresses: Vec<Arc<Ingress>>, classes: &[Arc<IngressClass>]) -> Vec<Arc<Ingress>> {
    let ours: BTreeMap<&str, &IngressClass> = classes
        .iter()
        .filter(|class| class.spec.as_ref().and_then(|spec| spec.controller.as_deref()) == Some(CONTROLLER))
        .filter_map(|class| Some((class.metadata.name.as_deref()?, &**class)))
        .collect();
    let is_default = |class: &&IngressClass| {
        let notes = class.metadata.annotations.as_ref();
        notes.and_then(|notes| notes.get(DEFAULT_CLASS)).is_some_and(|value| value == "true")
    };
    let default = ours.values().any(is_default);
    let mut kept: Vec<_> = ingresses;
    kept.retain(|ingress| {
        let noted = ingress.metadata.annotations.as_ref().and_then(|notes| notes.get(CLASS));
        let class = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_ref()).or(noted);
        let is_deleted = ingress.metadata.deletion_timestamp.is_some();
        !is_deleted && class.map_or(default, |class| ours.contains_key(class.as_str()))
    });
    kept.sort_by_cached_key(|ingress| {
        (ingress.metadata.creation_timestamp.as_ref().map(|time| time.0), key_of(ingress))
    });
    kept
}

#[cfg(test)]
mod tests;
