//! Webhook configurations: servers that are asked before an object is stored.

use std::collections::BTreeSet;

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhook, MutatingWebhookConfiguration, ServiceReference, ValidatingWebhook,
    ValidatingWebhookConfiguration, WebhookClientConfig,
};

use super::{
    FACTS, FAILURE_POLICIES, MATCH_POLICIES, REINVOCATION_POLICIES,
    expressions::{Environment, any},
    match_conditions, matching,
};
use crate::builtin::prelude::*;

/// The versions of AdmissionReview that servers may speak.
const REVIEW_VERSIONS: [&str; 2] = ["v1", "v1beta1"];
const SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun"];
const MAX_TIMEOUT: i32 = 30;

/// A validating webhook has all that a mutating one has but the policy of asking it again.
fn as_mutating(hook: &ValidatingWebhook) -> MutatingWebhook {
    let hook = hook.clone();
    MutatingWebhook {
        admission_review_versions: hook.admission_review_versions,
        client_config: hook.client_config,
        failure_policy: hook.failure_policy,
        match_conditions: hook.match_conditions,
        match_policy: hook.match_policy,
        name: hook.name,
        namespace_selector: hook.namespace_selector,
        object_selector: hook.object_selector,
        reinvocation_policy: None,
        rules: hook.rules,
        side_effects: hook.side_effects,
        timeout_seconds: hook.timeout_seconds,
    }
}

/// What a webhook of either kind says where it says nothing.
macro_rules! default_webhook {
    ($hook:ident) => {
        set(&mut $hook.failure_policy, "Fail");
        set(&mut $hook.match_policy, "Equivalent");
        $hook.namespace_selector.get_or_insert_default();
        $hook.object_selector.get_or_insert_default();
        set(&mut $hook.timeout_seconds, 10);
        matching::default_rules(&mut $hook.rules);
        if let Some(service) = &mut $hook.client_config.service {
            set(&mut service.port, 443);
        }
    };
}

impl Strategy for ValidatingWebhookConfiguration {
    const FACTS: Facts = FACTS;

    fn fill_in(&mut self) {
        for hook in self.webhooks.iter_mut().flatten() {
            default_webhook!(hook);
        }
    }

    fn validate(&self, errors: &mut Errors) {
        let hooks: Vec<_> = self.webhooks.iter().flatten().map(as_mutating).collect();
        webhooks(&hooks, errors);
    }

    fn columns() -> Vec<Column> {
        columns()
    }
}

impl Strategy for MutatingWebhookConfiguration {
    const FACTS: Facts = FACTS;

    fn fill_in(&mut self) {
        for hook in self.webhooks.iter_mut().flatten() {
            default_webhook!(hook);
            set(&mut hook.reinvocation_policy, "Never");
        }
    }

    fn validate(&self, errors: &mut Errors) {
        webhooks(self.webhooks.as_deref().unwrap_or_default(), errors);
    }

    fn columns() -> Vec<Column> {
        columns()
    }
}

fn columns() -> Vec<Column> {
    let count =
        Column::number("Webhooks", "How many webhooks there are.", |c| c.list_at(&["webhooks"]).len().into());
    vec![Column::name(), count, Column::age()]
}

fn webhooks(hooks: &[MutatingWebhook], errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (at, hook) in Path::new("webhooks").items(hooks.iter()) {
        webhook(hook, &at, errors);
        review_versions(&hook.admission_review_versions, &at.child("admissionReviewVersions"), errors);
        if !seen.insert(&hook.name) && !hook.name.is_empty() {
            errors.duplicate(&at.child("name"), &hook.name);
        }
    }
}

fn webhook(hook: &MutatingWebhook, at: &Path, errors: &mut Errors) {
    qualified(&hook.name, &at.child("name"), errors);
    for (i, rule) in hook.rules.iter().flatten().enumerate() {
        matching::rule(rule, &at.child("rules").index(i), errors);
    }
    one_of(hook.failure_policy.as_deref(), FAILURE_POLICIES, &at.child("failurePolicy"), errors);
    one_of(hook.match_policy.as_deref(), MATCH_POLICIES, &at.child("matchPolicy"), errors);
    let effects_at = at.child("sideEffects");
    if hook.side_effects.is_empty() {
        errors.required(&effects_at, format!("must specify one of {}", SIDE_EFFECTS.join(", ")));
    } else {
        one_of(hook.side_effects.as_str(), SIDE_EFFECTS, &effects_at, errors);
    }
    if let Some(timeout) = hook.timeout_seconds.filter(|t| !(1..=MAX_TIMEOUT).contains(t)) {
        let why = format!("the timeout value must be between 1 and {MAX_TIMEOUT} seconds");
        errors.invalid(&at.child("timeoutSeconds"), timeout, why);
    }
    label_selector(hook.namespace_selector.as_ref(), &at.child("namespaceSelector"), errors);
    label_selector(hook.object_selector.as_ref(), &at.child("objectSelector"), errors);
    let again_at = at.child("reinvocationPolicy");
    one_of(hook.reinvocation_policy.as_deref(), REINVOCATION_POLICIES, &again_at, errors);
    client(&hook.client_config, &at.child("clientConfig"), errors);
    let environment = Environment::new(&any()).with_authorizer();
    match_conditions(hook.match_conditions.as_ref(), &environment, &at.child("matchConditions"), errors);
}

/// A domain of at least three parts.
fn qualified(name: &str, at: &Path, errors: &mut Errors) {
    if name.is_empty() {
        return errors.required(at, "");
    }
    let wrong = dns_subdomain(name);
    if !wrong.is_empty() {
        errors.invalid(at, name, wrong.join(","));
    } else if name.split('.').count() < 3 {
        errors.invalid(at, name, "should be a domain with at least three segments separated by dots");
    }
}

fn review_versions(versions: &[String], at: &Path, errors: &mut Errors) {
    if versions.is_empty() {
        return errors.required(at, format!("must specify one of {}", REVIEW_VERSIONS.join(", ")));
    }
    let mut seen = BTreeSet::new();
    for (i, version) in versions.iter().enumerate() {
        if !seen.insert(version) {
            errors.invalid(&at.index(i), version, "duplicate version");
        } else {
            each(errors, &at.index(i), version, dns_1035_label(version));
        }
    }
    if !versions.iter().any(|v| REVIEW_VERSIONS.contains(&v.as_str())) {
        let why = format!("must include at least one of {}", REVIEW_VERSIONS.join(", "));
        errors.invalid(at, versions, why);
    }
}

fn client(config: &WebhookClientConfig, at: &Path, errors: &mut Errors) {
    match (&config.url, &config.service) {
        (Some(url), None) => self::url(url, &at.child("url"), errors),
        (None, Some(service)) => self::service(service, &at.child("service"), errors),
        _ => errors.required(at, "exactly one of url or service is required"),
    }
}

/// `https://host[/path]`
fn url(url: &str, at: &Path, errors: &mut Errors) {
    const FORM: &str = "; desired format: https://host[/path]";
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = if scheme.is_empty() { "" } else { rest.split('/').next().unwrap_or("") };
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(u, h)| (Some(u), h));
    if scheme != "https" {
        errors.invalid(at, scheme, format!("'https' is the only allowed URL scheme{FORM}"));
    }
    if host.is_empty() {
        errors.invalid(at, host, format!("host must be specified{FORM}"));
    }
    if let Some(user) = user {
        errors.invalid(at, user, "user information is not permitted in the URL");
    }
    if !fragment.is_empty() {
        errors.invalid(at, fragment, "fragments are not permitted in the URL");
    }
    if !query.is_empty() {
        errors.invalid(at, query, "query parameters are not permitted in the URL");
    }
}

fn service(service: &ServiceReference, at: &Path, errors: &mut Errors) {
    // Upstream takes one for the other.
    given(&service.namespace, &at.child("name"), errors);
    given(&service.name, &at.child("namespace"), errors);
    if let Some(port) = service.port.filter(|p| !(1..=65535).contains(p)) {
        errors.invalid(&at.child("port"), port, format!("port is not valid: {}", between(1, 65535)));
    }
    let at = at.child("path");
    let path = match service.path.as_deref() {
        None | Some("" | "/") => return,
        Some("//") => return errors.invalid(&at, "//", "segment[0] may not be empty"),
        Some(path) => path,
    };
    if !path.starts_with('/') {
        errors.invalid(&at, path, "must start with a '/'");
    }
    let steps = path.strip_prefix('/').unwrap_or(path);
    let steps = steps.strip_suffix('/').unwrap_or(steps);
    for (i, step) in steps.split('/').enumerate() {
        if step.is_empty() {
            errors.invalid(&at, path, format!("segment[{i}] may not be empty"));
            continue;
        }
        for why in dns_subdomain(step) {
            errors.invalid(&at, path, format!("segment[{i}]: {why}"));
        }
    }
}
