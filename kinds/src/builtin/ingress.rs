//! Ingress: HTTP(S) traffic from outside, sent on by host and path.

use k8s_openapi::api::networking::v1::{HTTPIngressPath, Ingress, IngressBackend, IngressSpec};

use crate::builtin::{cells::first_three, load_balancer, prelude::*};

/// The annotation that named the class before there was a field.
const CLASS: &str = "kubernetes.io/ingress.class";

impl Strategy for Ingress {
    const FACTS: Facts = Facts { has_generation: true, ..Facts::PLAIN };

    fn fill_in(&mut self) {
        let spec = self.spec.get_or_insert_default();
        absent_when_zero(&mut spec.rules);
        absent_when_zero(&mut spec.tls);
        for rule in spec.rules.iter_mut().flatten() {
            absent_when_zero(&mut rule.host);
        }
        self.status.get_or_insert_default().load_balancer.get_or_insert_default();
    }

    fn prepare_create(ingress: &mut Draft<Self>) {
        ingress.status = None;
        ingress.status.get_or_insert_default().load_balancer.get_or_insert_default();
    }

    fn validate(&self, errors: &mut Errors) {
        let Some(spec) = &self.spec else { return };
        sound(spec, errors);
        let noted = self.metadata.annotations.as_ref().and_then(|notes| notes.get(CLASS));
        if let (Some(noted), Some(class)) = (noted, &spec.ingress_class_name)
            && noted != class
        {
            let at = Path::new("annotations").child(CLASS);
            errors.invalid(&at, noted, "must match `ingressClassName` when both are specified");
        }
    }

    fn validate_update(&self, _old: &Self, part: Part<'_>, errors: &mut Errors) {
        if part == Part::Status {
            let status = self.status.as_ref().and_then(|status| status.load_balancer.as_ref());
            let at = Path::new("status.loadBalancer.ingress");
            for (i, entry) in status.iter().flat_map(|status| status.ingress.iter().flatten()).enumerate() {
                load_balancer::address(entry.ip.as_ref(), &at.index(i), errors);
                load_balancer::hostname(entry.hostname.as_ref(), &at.index(i), errors);
            }
        } else if let Some(spec) = &self.spec {
            sound(spec, errors);
        }
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        if old.is_none() {
            let noted = self.metadata.annotations.as_ref().is_some_and(|notes| notes.contains_key(CLASS));
            let named = self.spec.as_ref().is_some_and(|spec| spec.ingress_class_name.is_some());
            let words =
                format!("annotation {CLASS:?} is deprecated, please use 'spec.ingressClassName' instead");
            return (noted && !named).then_some(words).into_iter().collect();
        }
        let at = Path::new("status.loadBalancer.ingress");
        let status = self.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        let entries = status.into_iter().flat_map(|status| status.ingress.iter().flatten()).enumerate();
        entries.filter_map(|(i, entry)| ip_warning(entry.ip.as_deref()?, &at.index(i))).collect()
    }

    fn columns() -> Vec<Column> {
        vec![
            Column::name(),
            Column::text("Class", "Which controller serves it.", |ingress| {
                text_or(ingress, &["spec", "ingressClassName"], "<none>")
            }),
            Column::text("Hosts", "Host names it is about.", |ingress| {
                let hosts =
                    ingress.list_at(&["spec", "rules"]).iter().map(|r| r.str_at(&["host"]).to_owned());
                match &*hosts.filter(|host| !host.is_empty()).collect::<Vec<_>>() {
                    [] => "*".into(),
                    hosts => first_three(hosts).into(),
                }
            }),
            Column::text("Address", "Where it is reached.", |ingress| {
                let points = ingress.list_at(&["status", "loadBalancer", "ingress"]).iter();
                let addresses = points.map(|point| match point.str_at(&["ip"]) {
                    "" => point.str_at(&["hostname"]),
                    ip => ip,
                });
                addresses.collect::<Vec<_>>().join(",").into()
            }),
            Column::text("Ports", "The ports it is reached on.", |ingress| {
                if ingress.list_at(&["spec", "tls"]).is_empty() { "80" } else { "80, 443" }.into()
            }),
            Column::age(),
        ]
    }
}

/// What is wrong with the spec, new or changed.
fn sound(spec: &IngressSpec, errors: &mut Errors) {
    let at = Path::new("spec");
    if spec.rules.is_none() && spec.default_backend.is_none() {
        errors.invalid(&at, Value::Null, "either `defaultBackend` or `rules` must be specified");
    }
    if let Some(default) = &spec.default_backend {
        backend(default, &at.child("defaultBackend"), errors);
    }
    for (i, rule) in spec.rules.iter().flatten().enumerate() {
        let at = at.child("rules").index(i);
        if let Some(name) = &rule.host {
            if loose_ip(name).is_some() {
                errors.invalid(&at.child("host"), name, "must be a DNS name, not an IP address");
            }
            host(name, &at.child("host"), errors);
        }
        if let Some(http) = &rule.http {
            let at = at.child("http.paths");
            if http.paths.is_empty() {
                errors.required(&at, "");
            }
            for (i, path) in http.paths.iter().enumerate() {
                http_path(path, &at.index(i), errors);
            }
        }
    }
    for (i, tls) in spec.tls.iter().flatten().enumerate() {
        let at = at.child("tls").index(i);
        for (i, name) in tls.hosts.iter().flatten().enumerate() {
            host(name, &at.child("hosts").index(i), errors);
        }
        if let Some(secret) = tls.secret_name.as_ref().filter(|s| !s.is_empty()) {
            each(errors, &at.child("secretName"), secret, dns_subdomain(secret));
        }
    }
    if let Some(class) = &spec.ingress_class_name {
        each(errors, &at.child("ingressClassName"), class, dns_subdomain(class));
    }
}

fn host(name: &str, at: &Path, errors: &mut Errors) {
    let wrong = if name.contains('*') { wildcard_subdomain(name) } else { dns_subdomain(name) };
    each(errors, at, name, wrong);
}

fn http_path(path: &HTTPIngressPath, at: &Path, errors: &mut Errors) {
    const TYPES: &[&str] = &["Exact", "ImplementationSpecific", "Prefix"];
    const BAD_PARTS: &[&str] = &["//", "/./", "/../", "%2f", "%2F"];
    const BAD_ENDS: &[&str] = &["/..", "/."];
    let text = path.path.as_deref().unwrap_or_default();
    let path_at = at.child("path");
    match path.path_type.as_str() {
        "" => errors.required(&at.child("pathType"), "pathType must be specified"),
        "Exact" | "Prefix" => {
            if !text.starts_with('/') {
                errors.invalid(&path_at, text, "must be an absolute path");
            }
            for part in BAD_PARTS.iter().filter(|p| text.contains(**p)) {
                errors.invalid(&path_at, text, format!("must not contain '{part}'"));
            }
            for end in BAD_ENDS.iter().filter(|e| text.ends_with(**e)) {
                errors.invalid(&path_at, text, format!("cannot end with '{end}'"));
            }
        }
        "ImplementationSpecific" => {
            if !text.is_empty() && !text.starts_with('/') {
                errors.invalid(&path_at, text, "must be an absolute path");
            }
        }
        other => errors.not_supported(&at.child("pathType"), other, TYPES),
    }
    if path.path_type.is_empty() {
        // The backend is looked at only once the path makes sense.
        return;
    }
    backend(&path.backend, &at.child("backend"), errors);
}

fn backend(backend: &IngressBackend, at: &Path, errors: &mut Errors) {
    match (&backend.resource, &backend.service) {
        (Some(_), Some(_)) => {
            errors.invalid(at, "", "cannot set both resource and service backends");
        }
        (Some(resource), None) => {
            let group = resource.api_group.as_deref();
            reference(group, &resource.kind, &resource.name, &at.child("resource"), errors);
        }
        (None, None) => errors.invalid(at, "", "resource or service backend is required"),
        (None, Some(service)) => {
            let backend_at = at;
            let at = at.child("service");
            formed(&service.name, dns_label, &at.child("name"), errors);
            let port_at = at.child("port");
            let port = service.port.clone().unwrap_or_default();
            let name = port.name.as_deref().unwrap_or_default();
            match (name, port.number.unwrap_or(0)) {
                ("", 0) => errors.required(backend_at, "port name or number is required"),
                ("", number) => in_range(i64::from(number), 1, 65535, &port_at.child("number"), errors),
                (name, 0) => each(errors, &port_at.child("name"), name, port_name(name)),
                _ => errors.invalid(backend_at, "", "cannot set both port name & port number"),
            }
        }
    }
}

/// An object of another kind, by name.
pub fn reference(group: Option<&str>, kind: &str, name: &str, at: &Path, errors: &mut Errors) {
    if let Some(group) = group {
        each(errors, &at.child("apiGroup"), group, dns_subdomain(group));
    }
    for (field, value) in [("kind", kind), ("name", name)] {
        if value.is_empty() {
            errors.required(&at.child(field), "");
        } else {
            each(errors, &at.child(field), value, path_segment(value));
        }
    }
}

#[cfg(test)]
mod tests;
