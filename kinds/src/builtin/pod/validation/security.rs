//! Security contexts of pods and containers.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{
    AppArmorProfile, PodSpec, SELinuxOptions, SeccompProfile, SecurityContext, WindowsSecurityContextOptions,
};
use serde::Serialize;

use super::{volume::descending_path, windows};
use crate::builtin::prelude::*;

/// A user or group.
fn id(value: Option<i64>, at: &Path, errors: &mut Errors) {
    if let Some(value) = value {
        in_range(value, 0, i64::from(i32::MAX), at, errors);
    }
}

const PROFILES: &[&str] = &["Localhost", "RuntimeDefault", "Unconfined"];

fn seccomp(profile: Option<&SeccompProfile>, at: &Path, errors: &mut Errors) {
    let Some(profile) = profile else { return };
    if profile.type_.is_empty() {
        errors.required(&at.child("type"), "type is required when seccompProfile is set");
    } else {
        one_of(profile.type_.as_str(), PROFILES, &at.child("type"), errors);
    }
    let at = at.child("localhostProfile");
    match (profile.type_.as_str(), &profile.localhost_profile) {
        ("Localhost", None) => errors.required(&at, "must be set when seccomp type is Localhost"),
        ("Localhost", Some(path)) => descending_path(path, &at, errors),
        (_, Some(_)) => {
            let why = "can only be set when seccomp type is Localhost";
            errors.invalid(&at, ShownProfile::from(profile), why);
        }
        (_, None) => {}
    }
}

fn app_armor(profile: Option<&AppArmorProfile>, at: &Path, errors: &mut Errors) {
    const LONGEST: usize = 4095;
    let Some(profile) = profile else { return };
    let local_at = at.child("localhostProfile");
    match (profile.type_.as_str(), &profile.localhost_profile) {
        ("", _) => errors.required(&at.child("type"), "type is required when appArmorProfile is set"),
        ("Localhost", local) => {
            let local = local.as_deref().unwrap_or_default();
            if local.trim() != local {
                errors.invalid(&local_at, local, "must not be padded with whitespace");
            } else if local.is_empty() {
                errors.required(&local_at, "must be set when AppArmor type is Localhost");
            }
            if local.len() > LONGEST {
                errors.too_long(&local_at, LONGEST);
            }
        }
        ("RuntimeDefault" | "Unconfined", Some(local)) => {
            errors.invalid(&local_at, local, "can only be set when AppArmor type is Localhost");
        }
        (other, _) => one_of(other, PROFILES, &at.child("type"), errors),
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
    windows::options(context.windows_options.as_ref(), &at.child("windowsOptions"), errors);
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
    se_linux_options: Option<ShownSeLinux<'a>>,
    windows_options: Option<ShownWindows<'a>>,
    run_as_user: Option<i64>,
    run_as_group: Option<i64>,
    run_as_non_root: Option<bool>,
    read_only_root_filesystem: Option<bool>,
    allow_privilege_escalation: Option<bool>,
    proc_mount: &'a Option<String>,
    seccomp_profile: Option<ShownProfile<'a>>,
    app_armor_profile: Option<ShownProfile<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShownSeLinux<'a> {
    user: &'a str,
    role: &'a str,
    r#type: &'a str,
    level: &'a str,
}

impl<'a> From<&'a SELinuxOptions> for ShownSeLinux<'a> {
    fn from(options: &'a SELinuxOptions) -> Self {
        let text = |text: &'a Option<String>| text.as_deref().unwrap_or_default();
        Self {
            user: text(&options.user),
            role: text(&options.role),
            r#type: text(&options.type_),
            level: text(&options.level),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShownWindows<'a> {
    #[serde(rename = "GMSACredentialSpecName")]
    gmsa_credential_spec_name: &'a Option<String>,
    #[serde(rename = "GMSACredentialSpec")]
    gmsa_credential_spec: &'a Option<String>,
    run_as_user_name: &'a Option<String>,
    host_process: Option<bool>,
}

impl<'a> From<&'a WindowsSecurityContextOptions> for ShownWindows<'a> {
    fn from(options: &'a WindowsSecurityContextOptions) -> Self {
        Self {
            gmsa_credential_spec_name: &options.gmsa_credential_spec_name,
            gmsa_credential_spec: &options.gmsa_credential_spec,
            run_as_user_name: &options.run_as_user_name,
            host_process: options.host_process,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShownProfile<'a> {
    r#type: &'a str,
    localhost_profile: &'a Option<String>,
}

impl<'a> From<&'a SeccompProfile> for ShownProfile<'a> {
    fn from(profile: &'a SeccompProfile) -> Self {
        Self { r#type: &profile.type_, localhost_profile: &profile.localhost_profile }
    }
}

impl<'a> From<&'a AppArmorProfile> for ShownProfile<'a> {
    fn from(profile: &'a AppArmorProfile) -> Self {
        Self { r#type: &profile.type_, localhost_profile: &profile.localhost_profile }
    }
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
            se_linux_options: context.se_linux_options.as_ref().map(Into::into),
            windows_options: context.windows_options.as_ref().map(Into::into),
            run_as_user: context.run_as_user,
            run_as_group: context.run_as_group,
            run_as_non_root: context.run_as_non_root,
            read_only_root_filesystem: context.read_only_root_filesystem,
            allow_privilege_escalation: context.allow_privilege_escalation,
            proc_mount: &context.proc_mount,
            seccomp_profile: context.seccomp_profile.as_ref().map(Into::into),
            app_armor_profile: context.app_armor_profile.as_ref().map(Into::into),
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
    windows::options(context.windows_options.as_ref(), &at.child("windowsOptions"), errors);
    app_armor(context.app_armor_profile.as_ref(), &at.child("appArmorProfile"), errors);
}
