//! What a pod of a standard may not ask for: one table of checks.
//!
//! Counterpart of upstream's `pod-security-admission/policy`.

use std::collections::BTreeSet;

use api::object::ObjectExt as _;
use serde_json::Value;

use super::standard::{
    Level::{self, Baseline, Restricted},
    Standard,
};

/// A pod, or the template of one.
pub struct Pod<'a>(pub &'a Value);

/// What is forbidden, and who asks for it.
pub type Violation = (&'static str, String);

type Find = fn(&Pod<'_>, u64) -> Option<Violation>;

const NEVER: u64 = u64::MAX;

/// In the order in which violations are told: of which level a check is, since which minor version of the standards, and
/// since which one another takes its place in the restricted level.
const CHECKS: &[(Level, u64, u64, Find)] = &[
    (Baseline, 0, NEVER, app_armor),
    (Baseline, 0, 22, added_capabilities),
    (Baseline, 0, NEVER, host_namespaces),
    (Baseline, 0, 0, host_paths),
    (Baseline, 0, NEVER, host_ports),
    (Baseline, 34, NEVER, hosts),
    (Baseline, 0, NEVER, privileged),
    (Baseline, 0, 35, masked_proc_or_own_users),
    (Baseline, 0, NEVER, selinux),
    (Baseline, 0, 19, seccomp),
    (Baseline, 0, NEVER, sysctls),
    (Baseline, 0, NEVER, host_process),
    (Restricted, 8, NEVER, privilege_escalation),
    (Restricted, 22, NEVER, capabilities),
    (Restricted, 35, NEVER, masked_proc),
    (Restricted, 0, NEVER, volumes),
    (Restricted, 0, NEVER, non_root),
    (Restricted, 23, NEVER, user),
    (Restricted, 19, NEVER, seccomp_profile),
];

/// How a pod violates a standard.
pub fn violations(standard: Standard, pod: &Pod<'_>) -> Vec<Violation> {
    let version = standard.version.unwrap_or(NEVER).min(NEVER - 1);
    let applies = |(level, since, replaced, _): &&(Level, u64, u64, Find)| {
        let is_replaced = standard.level == Restricted && version >= *replaced;
        *level <= standard.level && version >= *since && !is_replaced
    };
    CHECKS.iter().filter(applies).filter_map(|(.., find)| find(pod, version)).collect()
}

impl<'a> Pod<'a> {
    fn annotations(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let all = self.0.at(&["metadata", "annotations"]).and_then(Value::as_object);
        all.into_iter().flatten().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
    }

    /// The names of the containers of which something is true.
    fn containers(&self, mut is_so: impl FnMut(&'a Value) -> bool) -> Vec<&'a str> {
        let lists = ["initContainers", "containers", "ephemeralContainers"];
        let all = lists.into_iter().flat_map(|list| self.0.list_at(&["spec", list]));
        all.filter(|container| is_so(container)).map(|container| container.str_at(&["name"])).collect()
    }

    /// Whose security context is so: the pod's own, containers'.
    fn contexts(&self, mut is_so: impl FnMut(&'a Value) -> bool) -> Vec<String> {
        let mut has = |of: &'a Value| of.at(&["securityContext"]).is_some_and(&mut is_so);
        let pod = has(&self.0["spec"]).then(|| "pod".to_owned());
        let containers = self.containers(has);
        pod.into_iter().chain((!containers.is_empty()).then(|| named("container", &containers))).collect()
    }

    /// The containers for which nobody says something in a security context.
    fn unsaid(&self, field: &str) -> Option<String> {
        let says = |of: &Value| of.at(&["securityContext", field]).is_some_and(|said| !said.is_null());
        let containers = if says(&self.0["spec"]) { Vec::new() } else { self.containers(|c| !says(c)) };
        (!containers.is_empty()).then(|| named("container", &containers))
    }

    /// The root of its user namespace is nobody on the node.
    fn has_own_users(&self, version: u64) -> bool {
        version >= 35 && is(self.0, &["spec", "hostUsers"], false)
    }

    fn is_of_windows(&self, version: u64) -> bool {
        version >= 25 && self.0.str_at(&["spec", "os", "name"]) == "windows"
    }
}

fn is(of: &Value, path: &[&str], value: bool) -> bool {
    of.at(path) == Some(&Value::Bool(value))
}

/// Notes the words that are not among those that are allowed. Answers whether there are any.
fn others<'a>(
    words: impl IntoIterator<Item = &'a str>,
    allowed: &str,
    noted: &mut BTreeSet<&'a str>,
) -> bool {
    let is_other = |word: &&str| !allowed.split(' ').any(|allowed| allowed == *word);
    words.into_iter().filter(is_other).map(|word| noted.insert(word)).count() > 0
}

fn plural(noun: &str, count: usize) -> String {
    format!("{noun}{}", if count == 1 { "" } else { "s" })
}

fn quoted<'a>(items: impl IntoIterator<Item = &'a &'a str>) -> String {
    items.into_iter().map(|item| format!("\"{item}\"")).collect::<Vec<_>>().join(", ")
}

fn named<'a>(
    noun: &str,
    names: impl IntoIterator<Item = &'a &'a str, IntoIter: ExactSizeIterator>,
) -> String {
    let names = names.into_iter();
    format!("{} {}", plural(noun, names.len()), quoted(names))
}

/// `container "a" uses`.
fn used(noun: &str, names: &[&str]) -> String {
    format!("{} {}", named(noun, names), if names.len() == 1 { "uses" } else { "use" })
}

/// What those who ask for it do, if there are any.
fn told<T>(who: &[T], reason: &'static str, detail: impl FnOnce() -> String) -> Option<Violation> {
    (!who.is_empty()).then(|| (reason, detail()))
}

/// Whether a profile is neither the runtime's own nor one of the node's.
fn is_unconfined<'a>(context: &'a Value, profile: &str, types: &mut BTreeSet<&'a str>) -> bool {
    let profile = context.at(&[profile]).filter(|profile| profile.is_object());
    others(profile.map(|profile| profile.str_at(&["type"])), "RuntimeDefault Localhost", types)
}

fn app_armor(pod: &Pod<'_>, _: u64) -> Option<Violation> {
    let mut types = BTreeSet::new();
    let mut who = pod.contexts(|context| is_unconfined(context, "appArmorProfile", &mut types));
    let annotations = pod.annotations().filter(|(key, value)| {
        let is_allowed = matches!(*value, "" | "runtime/default") || value.starts_with("localhost/");
        key.starts_with("container.apparmor.security.beta.kubernetes.io/") && !is_allowed
    });
    let annotations: BTreeSet<String> = annotations.map(|(key, value)| format!("{key}={value:?}")).collect();
    if !annotations.is_empty() {
        who.push(plural("annotation", annotations.len()));
    }
    let values: Vec<&str> = types.into_iter().chain(annotations.iter().map(String::as_str)).collect();
    let one = values.len() == 1;
    let reason = if one { "forbidden AppArmor profile" } else { "forbidden AppArmor profiles" };
    told(&who, reason, || {
        format!("{} must not set AppArmor profile type to {}", who.join(" and "), quoted(&values))
    })
}

fn capability_list<'a>(container: &'a Value, which: &str) -> impl Iterator<Item = &'a str> {
    container.list_at(&["securityContext", "capabilities", which]).iter().filter_map(Value::as_str)
}

/// That containers add other capabilities than these.
fn adding(pod: &Pod<'_>, allowed: &str, reason: &'static str) -> Option<Violation> {
    let mut added = BTreeSet::new();
    let who = pod.containers(|container| others(capability_list(container, "add"), allowed, &mut added));
    told(&who, reason, || {
        let (who, added) = (named("container", &who), quoted(&added));
        format!("{who} must not include {added} in securityContext.capabilities.add")
    })
}

fn added_capabilities(pod: &Pod<'_>, _: u64) -> Option<Violation> {
    const ALLOWED: &str = "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID SYS_CHROOT";
    adding(pod, ALLOWED, "non-default capabilities")
}

fn host_namespaces(pod: &Pod<'_>, _: u64) -> Option<Violation> {
    let shared = ["hostNetwork", "hostPID", "hostIPC"].into_iter();
    let shared = shared.filter(|field| is(pod.0, &["spec", field], true));
    let shared: Vec<String> = shared.map(|field| format!("{field}=true")).collect();
    told(&shared, "host namespaces", || shared.join(", "))
}

fn host_paths(pod: &Pod<'_>, _: u64) -> Option<Violation> {
    let volumes = pod.0.list_at(&["spec", "volumes"]).iter();
    let volumes = volumes.filter(|volume| volume.at(&["hostPath"]).is_some_and(Value::is_object));
    let names: Vec<&str> = volumes.map(|volume| volume.str_at(&["name"])).collect();
    told(&names, "hostPath volumes", || named("volume", &names))
}

fn host_ports(pod: &Pod<'_>, _: u64) -> Option<Violation> {
    let mut ports = BTreeSet::new();
    let who = pod.containers(|container| {
        let taken = container.list_at(&["ports"]).iter().filter_map(|port| port["hostPort"].as_u64());
        taken.filter(|port| *port != 0).map(|port| ports.insert(port.to_string())).count() > 0
    });
    told(&who, "hostPort", || {
        let ports: Vec<String> = ports.into_iter().collect();
        format!("{} {} {}", used("container", &who), plural("hostPort", ports.len()), ports.join(", "))
    })
}

/// Probes and hooks reach the pod itself and nobody else.
fn hosts(pod: &Pod<'_>, _: u64) -> Option<Violation> {
    let mut hosts = BTreeSet::new();
    let mut who = pod.containers(|container| {
        let probes = ["livenessProbe", "readinessProbe", "startupProbe"].map(|probe| container.get(probe));
        let hooks = ["postStart", "preStop"].map(|hook| container.at(&["lifecycle", hook]));
        let handlers = probes.into_iter().chain(hooks).flatten();
        let named =
            handlers.flat_map(|handler| ["httpGet", "tcpSocket"].map(|how| handler.str_at(&[how, "host"])));
        others(named, "", &mut hosts)
    });
    who.sort_unstable();
    told(&who, "probe or lifecycle host", || {
        format!("{} {}", used("container", &who), named("probe or lifecycle host", &hosts))
    })
}

fn privileged(pod: &Pod<'_>, _: u64) -> Option<Violation> {
    let who = pod.containers(|container| is(container, &["securityContext", "privileged"], true));
    told(&who, "privileged", || {
        format!("{} must not set securityContext.privileged=true", named("container", &who))
    })
}

fn masked_proc_or_own_users(pod: &Pod<'_>, version: u64) -> Option<Violation> {
    if pod.has_own_users(version) { None } else { masked_proc(pod, version) }
}

fn masked_proc(pod: &Pod<'_>, _: u64) -> Option<Violation> {
    let mut types = BTreeSet::new();
    let who = pod.containers(|container| {
        let said = container.at(&["securityContext", "procMount"]).and_then(Value::as_str);
        others(said, "Default", &mut types)
    });
    told(&who, "procMount", || {
        format!("{} must not set securityContext.procMount to {}", named("container", &who), quoted(&types))
    })
}

fn selinux(pod: &Pod<'_>, version: u64) -> Option<Violation> {
    let more = if version >= 31 { " container_engine_t" } else { "" };
    let allowed = format!("container_t container_init_t container_kvm_t{more}");
    let (mut types, mut user, mut role) = (BTreeSet::new(), false, false);
    let who = pod.contexts(|context| {
        let said = |field| Some(context.str_at(&["seLinuxOptions", field])).filter(|said| !said.is_empty());
        user |= said("user").is_some();
        role |= said("role").is_some();
        others(said("type"), &allowed, &mut types) || said("user").or(said("role")).is_some()
    });
    told(&who, "seLinuxOptions", || {
        let wrong = [
            (!types.is_empty()).then(|| named("type", &types)),
            user.then(|| "user may not be set".to_owned()),
            role.then(|| "role may not be set".to_owned()),
        ];
        let wrong: Vec<String> = wrong.into_iter().flatten().collect();
        format!("{} set forbidden securityContext.seLinuxOptions: {}", who.join(" and "), wrong.join("; "))
    })
}

const SECCOMP: &str = "seccompProfile";

fn seccomp(pod: &Pod<'_>, version: u64) -> Option<Violation> {
    if version < 19 {
        return seccomp_annotations(pod);
    }
    let mut types = BTreeSet::new();
    let who = pod.contexts(|context| is_unconfined(context, SECCOMP, &mut types));
    told(&who, SECCOMP, || {
        let (who, types) = (who.join(" and "), quoted(&types));
        format!("{who} must not set securityContext.seccompProfile.type to {types}")
    })
}

fn seccomp_annotations(pod: &Pod<'_>) -> Option<Violation> {
    let containers = pod.containers(|_| true);
    let wrong = pod.annotations().filter(|(key, value)| {
        let is_about = match key.strip_prefix("container.seccomp.security.alpha.kubernetes.io/") {
            Some(container) => containers.contains(&container),
            None => *key == "seccomp.security.alpha.kubernetes.io/pod",
        };
        let is_allowed = matches!(*value, "runtime/default" | "docker/default");
        is_about && !is_allowed && !value.starts_with("localhost/")
    });
    let wrong: BTreeSet<String> = wrong.map(|(key, value)| format!("{key}={value:?}")).collect();
    let wrong: Vec<String> = wrong.into_iter().collect();
    told(&wrong, SECCOMP, || format!("forbidden {} {}", plural("annotation", wrong.len()), wrong.join(", ")))
}

fn sysctls(pod: &Pod<'_>, version: u64) -> Option<Violation> {
    /// With the versions that brought them.
    const ALLOWED: &[(u64, &str)] = &[
        (0, "kernel.shm_rmid_forced"),
        (0, "net.ipv4.ip_local_port_range"),
        (0, "net.ipv4.tcp_syncookies"),
        (0, "net.ipv4.ping_group_range"),
        (0, "net.ipv4.ip_unprivileged_port_start"),
        (27, "net.ipv4.ip_local_reserved_ports"),
        (29, "net.ipv4.tcp_keepalive_time"),
        (29, "net.ipv4.tcp_fin_timeout"),
        (29, "net.ipv4.tcp_keepalive_intvl"),
        (29, "net.ipv4.tcp_keepalive_probes"),
        (32, "net.ipv4.tcp_rmem"),
        (32, "net.ipv4.tcp_wmem"),
    ];
    let set = pod.0.list_at(&["spec", "securityContext", "sysctls"]).iter();
    let is_allowed =
        |name: &str| ALLOWED.iter().any(|(since, allowed)| version >= *since && name == *allowed);
    let wrong: Vec<&str> = set.map(|one| one.str_at(&["name"])).filter(|name| !is_allowed(name)).collect();
    told(&wrong, "forbidden sysctls", || wrong.join(", "))
}

fn host_process(pod: &Pod<'_>, _: u64) -> Option<Violation> {
    let who = pod.contexts(|context| is(context, &["windowsOptions", "hostProcess"], true));
    told(&who, "hostProcess", || {
        format!("{} must not set securityContext.windowsOptions.hostProcess=true", who.join(" and "))
    })
}

fn privilege_escalation(pod: &Pod<'_>, version: u64) -> Option<Violation> {
    let may_not = |container| is(container, &["securityContext", "allowPrivilegeEscalation"], false);
    let who = pod.containers(|container| !may_not(container) && !pod.is_of_windows(version));
    told(&who, "allowPrivilegeEscalation != false", || {
        format!("{} must set securityContext.allowPrivilegeEscalation=false", named("container", &who))
    })
}

fn capabilities(pod: &Pod<'_>, version: u64) -> Option<Violation> {
    const REASON: &str = "unrestricted capabilities";
    if pod.is_of_windows(version) {
        return None;
    }
    let who = pod.containers(|container| !capability_list(container, "drop").any(|dropped| dropped == "ALL"));
    let keeping = told(&who, REASON, || {
        format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", named("container", &who))
    });
    let both = [keeping, adding(pod, "NET_BIND_SERVICE", REASON)];
    let both: Vec<String> = both.into_iter().flatten().map(|(_, detail)| detail).collect();
    told(&both, REASON, || both.join("; "))
}

fn volumes(pod: &Pod<'_>, _: u64) -> Option<Violation> {
    const ALLOWED: &str =
        "configMap csi downwardAPI emptyDir ephemeral image persistentVolumeClaim projected secret";
    let mut types = BTreeSet::new();
    let volumes = pod.0.list_at(&["spec", "volumes"]).iter().filter(|volume| {
        let fields = volume.as_object().into_iter().flatten();
        let mut sources = fields.filter(|(field, value)| *field != "name" && !value.is_null());
        others([sources.next().map_or("unknown", |(field, _)| field)], ALLOWED, &mut types)
    });
    let names: Vec<&str> = volumes.map(|volume| volume.str_at(&["name"])).collect();
    told(&names, "restricted volume types", || {
        format!("{} {}", used("volume", &names), named("restricted volume type", &types))
    })
}

fn non_root(pod: &Pod<'_>, version: u64) -> Option<Violation> {
    if pod.has_own_users(version) {
        return None;
    }
    const REASON: &str = "runAsNonRoot != true";
    let who = pod.contexts(|context| is(context, &["runAsNonRoot"], false));
    let unsaid = || {
        let who = pod.unsaid("runAsNonRoot")?;
        Some((REASON, format!("pod or {who} must set securityContext.runAsNonRoot=true")))
    };
    let says = || format!("{} must not set securityContext.runAsNonRoot=false", who.join(" and "));
    told(&who, REASON, says).or_else(unsaid)
}

fn user(pod: &Pod<'_>, version: u64) -> Option<Violation> {
    let is_root = |context: &Value| context.at(&["runAsUser"]).and_then(Value::as_i64) == Some(0);
    let who = pod.contexts(|context| is_root(context) && !pod.has_own_users(version));
    told(&who, "runAsUser=0", || format!("{} must not set runAsUser=0", who.join(" and ")))
}

fn seccomp_profile(pod: &Pod<'_>, version: u64) -> Option<Violation> {
    let unsaid = || {
        let who = pod.unsaid(SECCOMP)?;
        let why = "must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"";
        Some((SECCOMP, format!("pod or {who} {why}")))
    };
    if pod.is_of_windows(version) { None } else { seccomp(pod, version).or_else(unsaid) }
}

#[cfg(test)]
mod tests;
