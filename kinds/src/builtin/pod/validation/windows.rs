//! What Windows wants of a pod: names of users and domains, and containers that are processes of the node.
//!
//! Upstream looks at these options whatever the operating system of the pod.

use k8s_openapi::api::core::v1::{PodSpec, WindowsSecurityContextOptions};

use super::os::contexts;
use crate::builtin::prelude::*;

/// How long the description of a group's account may be, in kibibytes.
const LONGEST_SECRET: usize = 64;
const LONGEST_DOMAIN: usize = 256;
const LONGEST_USER: usize = 104;

/// The options of a pod or container, at `at`.
pub fn options(options: Option<&WindowsSecurityContextOptions>, at: &Path, errors: &mut Errors) {
    let Some(options) = options else { return };
    if let Some(name) = &options.gmsa_credential_spec_name {
        each(errors, &at.child("gmsaCredentialSpecName"), name, dns_subdomain(name));
    }
    if let Some(secret) = &options.gmsa_credential_spec {
        let at = at.child("gmsaCredentialSpec");
        if secret.is_empty() {
            errors.invalid(&at, secret, "gmsaCredentialSpec cannot be an empty string");
        } else if secret.len() > LONGEST_SECRET * 1024 {
            errors.invalid(
                &at,
                secret,
                format!("gmsaCredentialSpec size must be under {LONGEST_SECRET} KiB"),
            );
        }
    }
    if let Some(name) = &options.run_as_user_name {
        for why in wrong_user(name) {
            errors.invalid(&at.child("runAsUserName"), name, format!("runAsUserName{why}"));
        }
    }
}

/// What is wrong with `DOMAIN\USER`.
fn wrong_user(name: &str) -> Vec<String> {
    const NEVER: &str = "\"/\\:;|=,+*?<>@[]";
    if name.is_empty() {
        return vec![" cannot be an empty string".into()];
    }
    if name.chars().any(|c| c.is_ascii_control()) {
        return vec![" cannot contain control characters".into()];
    }
    if name.matches('\\').count() > 1 {
        return vec![" cannot contain more than one backslash".into()];
    }
    let (domain, user) = name.split_once('\\').map_or((None, name), |(domain, user)| (Some(domain), user));
    let mut wrong = Vec::new();
    if domain.is_some_and(|domain| domain.len() >= LONGEST_DOMAIN) {
        wrong.push(format!("'s Domain length must be under {LONGEST_DOMAIN} characters"));
    }
    if domain.is_some_and(|domain| !is_net_bios(domain) && !domain.split('.').all(is_label)) {
        wrong.push("'s Domain doesn't match the NetBios nor the DNS format".into());
    }
    if user.is_empty() {
        wrong.push("'s User cannot be empty".into());
    } else if user.len() > LONGEST_USER {
        wrong.push(format!("'s User length must not be longer than {LONGEST_USER} characters"));
    }
    if !user.is_empty() && user.chars().all(|c| matches!(c, '.' | ' ')) {
        wrong.push("'s User cannot contain only periods or spaces".into());
    }
    if user.contains(|c| NEVER.contains(c)) {
        wrong.push(format!("'s User cannot contain the following characters: {NEVER}"));
    }
    wrong
}

fn is_net_bios(domain: &str) -> bool {
    (1..=15).contains(&domain.chars().count())
        && !domain.starts_with('.')
        && !domain.contains(|c| "\\/:*?\"<>|".contains(c))
}

/// A label of a domain, in which capitals are letters, too.
fn is_label(label: &str) -> bool {
    dns_label(&label.to_ascii_lowercase()).is_empty()
}

/// Containers may be processes of the node, on its network, when all of a pod's are.
pub fn host_process(spec: &PodSpec, at: &Path, errors: &mut Errors) {
    let asked = |options: Option<&WindowsSecurityContextOptions>| options.and_then(|o| o.host_process);
    let of_pod = asked(spec.security_context.as_ref().and_then(|c| c.windows_options.as_ref()));
    let containers = contexts(spec, at);
    let mut processes = 0;
    for (at, context) in &containers {
        let own = asked(context.and_then(|c| c.windows_options.as_ref()));
        if let (Some(pod), Some(own)) = (of_pod, own)
            && pod != own
        {
            let why = format!("pod hostProcess value must be identical if both are specified, was {pod}");
            errors.invalid(&at.child("windowsOptions.hostProcess"), own, why);
        }
        processes += usize::from(own.or(of_pod) == Some(true));
    }
    if processes == 0 {
        return;
    }
    if processes != containers.len() {
        let why =
            "If pod contains any hostProcess containers then all containers must be HostProcess containers";
        errors.invalid(at, "", why);
    }
    if spec.host_network != Some(true) {
        let why = "hostNetwork must be true if pod contains any hostProcess containers";
        errors.invalid(&at.child("hostNetwork"), false, why);
    }
}
