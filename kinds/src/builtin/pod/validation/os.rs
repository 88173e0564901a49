//! What pods of one operating system may not ask for, because only the other one has it.
//!
//! Counterpart of `validateLinux` and `validateWindows` in upstream's `pkg/apis/core/validation`.

use k8s_openapi::api::core::v1::{PodSecurityContext, PodSpec, SecurityContext};

use api::field::{Errors, Path};

/// The operating system of a pod, and what the pod may not ask for because of it.
pub fn validate(spec: &PodSpec, at: &Path, errors: &mut Errors) {
    let Some(os) = &spec.os else { return };
    let os_at = at.child("os");
    match os.name.as_str() {
        "" => errors.required(&os_at.child("name"), ""),
        "linux" => linux(spec, at, errors),
        "windows" => windows(spec, at, errors),
        other => errors.not_supported(&os_at, other, &["linux", "windows"]),
    }
}

/// The security contexts of all containers, in the order upstream visits them.
pub(super) fn contexts<'a>(spec: &'a PodSpec, at: &Path) -> Vec<(Path, Option<&'a SecurityContext>)> {
    let init = spec.init_containers.iter().flatten().map(|c| c.security_context.as_ref());
    let main = spec.containers.iter().map(|c| c.security_context.as_ref());
    let late = spec.ephemeral_containers.iter().flatten().map(|c| c.security_context.as_ref());
    let at = |list: &str, i: usize| at.child(list).index(i).child("securityContext");
    let mut found = Vec::new();
    found.extend(init.enumerate().map(|(i, c)| (at("initContainers", i), c)));
    found.extend(main.enumerate().map(|(i, c)| (at("containers", i), c)));
    found.extend(late.enumerate().map(|(i, c)| (at("ephemeralContainers", i), c)));
    found
}

fn linux(spec: &PodSpec, at: &Path, errors: &mut Errors) {
    let of_pod = spec.security_context.as_ref().and_then(|c| c.windows_options.as_ref());
    let of_containers =
        contexts(spec, at).into_iter().map(|(at, c)| (at, c.and_then(|c| c.windows_options.as_ref())));
    for (at, options) in [(at.child("securityContext"), of_pod)].into_iter().chain(of_containers) {
        if options.is_some() {
            let words = "windows options cannot be set for a linux pod";
            errors.forbidden(&at.child("windowsOptions"), words);
        }
    }
}

fn windows(spec: &PodSpec, at: &Path, errors: &mut Errors) {
    let mut forbid = |at: &Path, fields: &[(&str, bool)]| {
        for (field, _) in fields.iter().filter(|(_, is_set)| *is_set) {
            errors.forbidden(&at.child(field), "cannot be set for a windows pod");
        }
    };
    let none = PodSecurityContext::default();
    let pod = spec.security_context.as_ref().unwrap_or(&none);
    let context_at = at.child("securityContext");
    forbid(
        &context_at,
        &[
            ("appArmorProfile", pod.app_armor_profile.is_some()),
            ("seLinuxOptions", pod.se_linux_options.is_some()),
        ],
    );
    forbid(
        at,
        &[
            ("hostUsers", spec.host_users.is_some()),
            ("hostPID", spec.host_pid == Some(true)),
            ("hostIPC", spec.host_ipc == Some(true)),
        ],
    );
    forbid(
        &context_at,
        &[
            ("seccompProfile", pod.seccomp_profile.is_some()),
            ("fsGroup", pod.fs_group.is_some()),
            ("fsGroupChangePolicy", pod.fs_group_change_policy.is_some()),
            ("sysctls", pod.sysctls.as_ref().is_some_and(|s| !s.is_empty())),
        ],
    );
    forbid(at, &[("shareProcessNamespace", spec.share_process_namespace.is_some())]);
    forbid(
        &context_at,
        &[
            ("runAsUser", pod.run_as_user.is_some()),
            ("runAsGroup", pod.run_as_group.is_some()),
            ("supplementalGroups", pod.supplemental_groups.is_some()),
            ("supplementalGroupsPolicy", pod.supplemental_groups_policy.is_some()),
            ("seLinuxChangePolicy", pod.se_linux_change_policy.is_some()),
        ],
    );
    for (at, context) in contexts(spec, at) {
        let Some(context) = context else { continue };
        forbid(
            &at,
            &[
                ("appArmorProfile", context.app_armor_profile.is_some()),
                ("seLinuxOptions", context.se_linux_options.is_some()),
                ("seccompProfile", context.seccomp_profile.is_some()),
                ("capabilities", context.capabilities.is_some()),
                ("readOnlyRootFilesystem", context.read_only_root_filesystem.is_some()),
                ("privileged", context.privileged.is_some()),
                ("allowPrivilegeEscalation", context.allow_privilege_escalation.is_some()),
                ("procMount", context.proc_mount.is_some()),
                ("runAsUser", context.run_as_user.is_some()),
                ("runAsGroup", context.run_as_group.is_some()),
            ],
        );
    }
}
