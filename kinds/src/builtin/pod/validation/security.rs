//! Security contexts of pods and containers.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{
    AppArmorProfile, PodSpec, SELinuxOptions, SeccompProfile, SecurityContext, WindowsSecurityContextOptions,
};
use serde::Serialize;

use crate::builtin::prelude::*;

/// A user or group.
fn id(value: Option<i64>, at: &Path, errors: &mut Errors) {
    if let Some(value) = value {
        in_range(value, 0, i64::from(i32::MAX), at, errors);
    }
}

fn profile(what: &str, type_: &str, local: Option<&str>, at: &Path, errors: &mut Errors) {
    const TYPES: &[&str] = &["Localhost", "RuntimeDefault", "Unconfined"];
    let local_at = at.child("localhostProfile");
    match (type_, local) {
        ("", _) => {
            let field = if what == "seccomp" { "seccompProfile" } else { what };
            errors.required(&at.child("type"), format!("type is required when {field} is set"));
        }
        ("Localhost", None | Some("")) => {
            errors.required(&local_at, format!("must be set when {what} type is Localhost"));
        }
        ("Localhost", Some(path)) => {
            if path.starts_with('/') {
                errors.invalid(&local_at, path, "must be a relative path");
            }
            if path.split('/').any(|p| p == "..") {
                errors.invalid(&local_at, path, "must not contain '..'");
            }
        }
        (t, local) => {
            if let Some(path) = local {
                errors.invalid(&local_at, path, format!("can only be set when {what} type is Localhost"));
            }
            one_of(t, TYPES, &at.child("type"), errors);
        }
    }
}

fn seccomp(p: Option<&SeccompProfile>, at: &Path, errors: &mut Errors) {
    if let Some(p) = p {
        profile("seccomp", &p.type_, p.localhost_profile.as_deref(), at, errors);
    }
}

fn app_armor(p: Option<&AppArmorProfile>, at: &Path, errors: &mut Errors) {
    if let Some(p) = p {
        profile("AppArmor", &p.type_, p.localhost_profile.as_deref(), at, errors);
    }
}

/// The pod's own security context, and what sharing the host's namespaces rules out.
pub fn pod(spec: &PodSpec, spec_at: &Path, errors: &mut Errors) {
    let Some(context) = &spec.security_context else { return };
    let at = spec_at.child("securityContext");
    if spec.host_pid == Some(true) && spec.share_process_namespace == Some(true) {
        errors.invalid(
            &at.child("shareProcessNamespace"),
            true,
            "ShareProcessNamespace and HostPID cannot both be enabled",
        );
    }
    id(context.fs_group, &at.child("fsGroup"), errors);
    id(context.run_as_user, &at.child("runAsUser"), errors);
    id(context.run_as_group, &at.child("runAsGroup"), errors);
    for (i, group) in context.supplemental_groups.iter().flatten().enumerate() {
        id(Some(*group), &at.child("supplementalGroups").index(i), errors);
    }
    sysctls(spec, &at.child("sysctls"), errors);
    if let Some(policy) = &context.fs_group_change_policy
        && !["Always", "OnRootMismatch"].contains(&policy.as_str())
    {
        errors.not_supported(&at.child("fsGroupChangePolicy"), policy, &["Always", "OnRootMismatch"]);
    }
    seccomp(context.seccomp_profile.as_ref(), &at.child("seccompProfile"), errors);
    app_armor(context.app_armor_profile.as_ref(), &at.child("appArmorProfile"), errors);
    if let Some(policy) = &context.supplemental_groups_policy
        && !["Merge", "Strict"].contains(&policy.as_str())
    {
        errors.not_supported(&at.child("supplementalGroupsPolicy"), policy, &["Merge", "Strict"]);
    }
    // The other policy waits for a feature that is off by default.
    if let Some(policy) = context.se_linux_change_policy.as_ref().filter(|policy| *policy != "Recursive") {
        errors.not_supported(&at.child("seLinuxChangePolicy"), policy, &["Recursive"]);
    }
}

/// `kernel.shm_rmid_forced`, `net/ipv4/tcp_syncookies`
fn is_sysctl(name: &str) -> bool {
    let edge = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let segment = |s: &str| {
        let b = s.as_bytes();
        b.first().is_some_and(|b| edge(*b))
            && b.last().is_some_and(|b| edge(*b))
            && b.iter().all(|b| edge(*b) || *b == b'-' || *b == b'_')
    };
    name.len() <= 253 && name.split(['.', '/']).all(segment)
}

fn sysctls(spec: &PodSpec, at: &Path, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    let context = spec.security_context.as_ref();
    for (i, sysctl) in context.and_then(|c| c.sysctls.as_ref()).into_iter().flatten().enumerate() {
        let at = at.index(i).child("name");
        if sysctl.name.is_empty() {
            errors.required(&at, "");
        } else if !is_sysctl(&sysctl.name) {
            errors.invalid(
                &at,
                &sysctl.name,
                r"must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$",
            );
        } else if !seen.insert(&sysctl.name) {
            errors.duplicate(&at, &sysctl.name);
        }
        let name = sysctl.name.replace('/', ".");
        let of_ipc = ["kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."];
        for (field, shared, belongs) in [
            ("hostNetwork", spec.host_network, name.starts_with("net.")),
            ("hostIPC", spec.host_ipc, of_ipc.iter().any(|prefix| name.starts_with(prefix))),
        ] {
            if shared == Some(true) && belongs {
                errors.invalid(&at, &sysctl.name, format!("may not be specified when '{field}' is true"));
            }
        }
    }
}

/// A security context as upstream shows one whose parts do not fit together.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown<'a> {
    capabilities: Option<ShownCapabilities<'a>>,
    privileged: Option<bool>,
    #[serde(rename = "SELinuxOptions")]
    se_linux_options: &'a Option<SELinuxOptions>,
    windows_options: &'a Option<WindowsSecurityContextOptions>,
    run_as_user: Option<i64>,
    run_as_group: Option<i64>,
    run_as_non_root: Option<bool>,
    read_only_root_filesystem: Option<bool>,
    allow_privilege_escalation: Option<bool>,
    proc_mount: &'a Option<String>,
    seccomp_profile: &'a Option<SeccompProfile>,
    app_armor_profile: &'a Option<AppArmorProfile>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShownCapabilities<'a> {
    add: &'a Option<Vec<String>>,
    drop: &'a Option<Vec<String>>,
}

impl<'a> From<&'a SecurityContext> for Shown<'a> {
    fn from(context: &'a SecurityContext) -> Self {
        let capabilities = context.capabilities.as_ref();
        Self {
            capabilities: capabilities.map(|c| ShownCapabilities { add: &c.add, drop: &c.drop }),
            privileged: context.privileged,
            se_linux_options: &context.se_linux_options,
            windows_options: &context.windows_options,
            run_as_user: context.run_as_user,
            run_as_group: context.run_as_group,
            run_as_non_root: context.run_as_non_root,
            read_only_root_filesystem: context.read_only_root_filesystem,
            allow_privilege_escalation: context.allow_privilege_escalation,
            proc_mount: &context.proc_mount,
            seccomp_profile: &context.seccomp_profile,
            app_armor_profile: &context.app_armor_profile,
        }
    }
}

/// The security context of one container.
pub fn container(context: Option<&SecurityContext>, host_users: bool, at: &Path, errors: &mut Errors) {
    let Some(context) = context else { return };
    id(context.run_as_user, &at.child("runAsUser"), errors);
    id(context.run_as_group, &at.child("runAsGroup"), errors);
    match context.proc_mount.as_deref() {
        None | Some("Default") => {}
        Some("Unmasked") if host_users => {
            errors.invalid(&at.child("procMount"), "Unmasked", "`hostUsers` must be false to use `Unmasked`");
        }
        Some("Unmasked") => {}
        Some(other) => errors.not_supported(&at.child("procMount"), other, &["Default", "Unmasked"]),
    }
    seccomp(context.seccomp_profile.as_ref(), &at.child("seccompProfile"), errors);
    if context.allow_privilege_escalation == Some(false) {
        if context.privileged == Some(true) {
            errors.invalid(
                at,
                Shown::from(context),
                "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
            );
        }
        let added = context.capabilities.iter().filter_map(|c| c.add.as_ref()).flatten();
        if added.into_iter().any(|c| c == "CAP_SYS_ADMIN") {
            errors.invalid(
                at,
                Shown::from(context),
                "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
            );
        }
    }
    app_armor(context.app_armor_profile.as_ref(), &at.child("appArmorProfile"), errors);
}
