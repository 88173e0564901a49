//! APIService: who serves a group version, this server ("local") or another one behind a Service.

use api::conditions;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::{APIService, APIServiceSpec};

use crate::builtin::prelude::*;
use crate::kind::Kind;

const MAX_GROUP_PRIORITY: i32 = 20_000;
const MAX_VERSION_PRIORITY: i32 = 1000;

/// Priorities of groups, which order discovery.
const GROUPS: [(&str, i32); 21] = [
    ("apiregistration.k8s.io", 20_000),
    ("", 18_000),
    ("apps", 17_800),
    ("events.k8s.io", 17_750),
    ("authentication.k8s.io", 17_700),
    ("authorization.k8s.io", 17_600),
    ("autoscaling", 17_500),
    ("batch", 17_400),
    ("certificates.k8s.io", 17_300),
    ("networking.k8s.io", 17_200),
    ("policy", 17_100),
    ("rbac.authorization.k8s.io", 17_000),
    ("storage.k8s.io", 16_800),
    ("admissionregistration.k8s.io", 16_700),
    ("apiextensions.k8s.io", 16_700),
    ("scheduling.k8s.io", 16_600),
    ("coordination.k8s.io", 16_500),
    ("node.k8s.io", 16_300),
    ("discovery.k8s.io", 16_200),
    ("resource.k8s.io", 16_150),
    ("flowcontrol.apiserver.k8s.io", 16_100),
];
/// The priority of groups of custom kinds.
const CUSTOM: i32 = 1000;

/// The priority of a group: greater ones come first in discovery.
pub fn group_priority(group: &str) -> i32 {
    GROUPS.iter().find(|(name, _)| *name == group).map_or(CUSTOM, |(_, priority)| *priority)
}

/// The priority of a kind's version within its group.
pub fn version_priority(kind: &Kind) -> i32 {
    match (&*kind.group, &*kind.version, kind.is_custom()) {
        (_, _, true) => 100,
        ("", ..) => 1,
        (_, "v2", _) => 30,
        (_, "v1beta1", _) => 9,
        _ => 15,
    }
}

impl Strategy for APIService {
    const FACTS: Facts = Facts {
        updates_unconditionally: false,
        // What exactly is allowed is checked below.
        names: NameRule::PathSegment,
        takes_plain_finalizers: true,
        ..Facts::PLAIN
    };

    fn fill_in(&mut self) {
        let spec = self.spec.get_or_insert_default();
        absent_when_zero(&mut spec.insecure_skip_tls_verify);
        if let Some(service) = &mut spec.service {
            set(&mut service.port, 443);
        }
        self.status.get_or_insert_default();
    }

    fn validate(&self, errors: &mut Errors) {
        let name = self.metadata.name.as_deref().unwrap_or_default();
        let none = APIServiceSpec::default();
        spec(self.spec.as_ref().unwrap_or(&none), name, errors);
    }

    fn validate_update(&self, _old: &Self, part: Part<'_>, errors: &mut Errors) {
        if part != Part::Status {
            return self.validate(errors);
        }
        const STATES: &[&str] = &["True", "False", "Unknown"];
        let given = self.status.iter().flat_map(|s| s.conditions.iter().flatten());
        for (i, condition) in given.enumerate().filter(|(_, c)| !STATES.contains(&c.status.as_str())) {
            let at = Path::new("status.conditions").index(i).child("status");
            errors.not_supported(&at, &condition.status, STATES);
        }
    }

    fn columns() -> Vec<Column> {
        vec![
            Column::name(),
            Column::text("Service", "Who serves it.", |service| {
                let of = |field| service.str_at(&["spec", "service", field]);
                let remote = service.at(&["spec", "service"]).is_some_and(Value::is_object);
                if remote { format!("{}/{}", of("namespace"), of("name")).into() } else { "Local".into() }
            }),
            Column::text("Available", "Whether it is served at present.", |service| {
                let available = conditions::find(service, "Available");
                match available.map(|c| (c.str_at(&["status"]), c.str_at(&["reason"]))) {
                    None => "Unknown".into(),
                    Some(("True", _)) => "True".into(),
                    Some((status, reason)) => format!("{status} ({reason})").into(),
                }
            }),
            Column::age(),
        ]
    }
}

fn spec(spec: &APIServiceSpec, name: &str, errors: &mut Errors) {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let (group, version) = (text(&spec.group), text(&spec.version));
    let required = format!("{version}.{group}");
    if !name.is_empty() && name != required {
        let why = format!("must be `spec.version+\".\"+spec.group`: {required:?}");
        errors.invalid(&Path::new("metadata.name"), name, why);
    }
    let at = Path::new("spec");
    let group_at = at.child("group");
    if group.is_empty() && version != "v1" {
        errors.required(&group_at, "only v1 may have an empty group and it better be legacy kube");
    }
    if !group.is_empty() {
        each(errors, &group_at, &group, dns_subdomain(&group));
    }
    each(errors, &at.child("version"), &version, dns_1035_label(&version));
    for (field, value, most) in [
        ("groupPriorityMinimum", spec.group_priority_minimum, MAX_GROUP_PRIORITY),
        ("versionPriority", spec.version_priority, MAX_VERSION_PRIORITY),
    ] {
        if value <= 0 || value > most {
            errors.invalid(&at.child(field), value, format!("must be positive and less than {most}"));
        }
    }
    let authority = spec.ca_bundle.as_ref().map_or(0, |b| b.0.len());
    let insecure = spec.insecure_skip_tls_verify.unwrap_or(false);
    let insecure_at = at.child("insecureSkipTLSVerify");
    let Some(service) = &spec.service else {
        if authority > 0 {
            let why = "local APIServices may not have a caBundle";
            errors.invalid(&at.child("caBundle"), format!("{authority} bytes"), why);
        }
        if insecure {
            errors.invalid(&insecure_at, insecure, "local APIServices may not have insecureSkipTLSVerify");
        }
        return;
    };
    let service_at = at.child("service");
    for (field, value) in [("namespace", text(&service.namespace)), ("name", text(&service.name))] {
        given(&value, &service_at.child(field), errors);
    }
    if let Some(port) = service.port.filter(|p| !(1..=65535).contains(p)) {
        let why = format!("port is not valid: {}", between(1, 65535));
        errors.invalid(&service_at.child("port"), port, why);
    }
    if insecure && authority > 0 {
        errors.invalid(&insecure_at, insecure, "may not be true if caBundle is present");
    }
}

#[cfg(test)]
mod tests;
