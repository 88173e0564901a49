//! A pod's spec → what the runtime is asked for.

mod environment;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use api::{Message, pod::Qos};
use k8s_openapi::api::core::v1::{Container, Pod, Service, VolumeMount};
use proto::cri::security_profile::ProfileType;
use proto::cri::{
    DnsConfig, LinuxContainerResources, MountPropagation, NamespaceMode, SupplementalGroupsPolicy,
};
use serde_json::{Value, json};

use super::container::{Prepared, VolumePath};
use super::expansion::Environment;
use super::{container, env, names, resources, sandbox};
use crate::downward::NodeFacts;
use crate::pod_spec::{self, Role};

fn pod(spec: &Value) -> Pod {
    let metadata = json!({"name": "p", "namespace": "d", "uid": "u", "labels": {"app": "x"}});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec}))
        .expect("the test's pod is well-formed")
}

fn only(pod: &Pod) -> &Container {
    &pod_spec::spec(pod).containers[0]
}

fn environment() -> Environment {
    let mut environment = Environment::default();
    environment.put("A", "1".to_owned()).expect("it is small");
    environment
}

fn prepared(image_user: Option<i64>, image_username: &str) -> Prepared<'_> {
    Prepared {
        env: environment(),
        mounts: Vec::new(),
        image: "sha256:1".to_owned(),
        image_user,
        image_username,
        node_memory: 1 << 30,
        huge_page_sizes: &[],
        target: None,
        seccomp_profiles: Path::new("/k/seccomp"),
    }
}

#[test]
fn an_ephemeral_container_sees_the_processes_of_its_target() {
    let pod = pod(&json!({"containers": [{"name": "c"}], "shareProcessNamespace": true,
        "ephemeralContainers": [{"name": "e", "image": "i", "tty": true, "targetContainerName": "c"}]}));
    let (container, role) = pod_spec::container(&pod, "e").expect("it is in the pod");
    assert_eq!((role, container.image.as_deref(), container.tty), (Role::Ephemeral, Some("i"), Some(true)));
    assert_eq!(pod_spec::field_path("e", role), "spec.ephemeralContainers{e}");
    for (target, mode) in [(None, NamespaceMode::Pod), (Some("id"), NamespaceMode::Target)] {
        let prepared = Prepared { target: target.map(str::to_owned), ..prepared(None, "") };
        let made =
            super::container::config(&pod, &container, role, 0, prepared).expect("nothing is wrong with it");
        let context = made.linux.and_then(|linux| linux.security_context).expect("it has a context");
        let namespaces = context.namespace_options.expect("it has namespaces");
        assert_eq!(
            (namespaces.pid, namespaces.target_id.as_str()),
            (mode as i32, target.unwrap_or_default())
        );
    }
}

#[test]
fn a_debugger_has_what_every_container_has() {
    let own = json!({"name": "e", "image": "i", "command": ["a"], "args": ["b"], "imagePullPolicy": "Always",
        "env": [{"name": "A", "value": "1"}], "envFrom": [{"prefix": "P", "secretRef": {"name": "s"}}],
        "stdin": true, "stdinOnce": true, "terminationMessagePath": "/w", "workingDir": "/x",
        "terminationMessagePolicy": "FallbackToLogsOnError"});
    let pod = pod(&json!({"containers": [], "ephemeralContainers": [own]}));
    let container = pod_spec::as_container(&pod_spec::ephemeral_containers(&pod)[0]);
    assert_eq!(serde_json::to_value(container).expect("it is plain data"), own);
}

#[test]
fn resources_become_numbers_of_cgroups() {
    let memory = 64 << 20;
    for (case, resources, qos, expected) in [
        ("nothing", json!({}), Qos::BestEffort, (2, 0, 0, 1000)),
        (
            "requests",
            json!({"requests": {"cpu": "100m", "memory": "64Mi"}}),
            Qos::Burstable,
            (102, 0, 0, 938),
        ),
        ("a limit alone", json!({"limits": {"cpu": "1500m"}}), Qos::Burstable, (1536, 150_000, 0, 999)),
        (
            "both",
            json!({"limits": {"cpu": "1", "memory": "64Mi"}, "requests": {"cpu": "1", "memory": "64Mi"}}),
            Qos::Guaranteed,
            (1024, 100_000, memory, -997),
        ),
        ("little", json!({"limits": {"cpu": "1m"}}), Qos::Burstable, (2, 1000, 0, 999)),
        ("all memory", json!({"requests": {"memory": "2Gi"}}), Qos::Burstable, (2, 0, 0, 3)),
    ] {
        let pod = pod(&json!({"containers": [{"name": "c", "resources": resources}]}));
        assert_eq!(Qos::of(&pod), qos, "{case}");
        let (shares, quota, memory, oom) = expected;
        let got = resources::of_container(&pod, only(&pod), Role::Main, 1 << 30);
        let expected = LinuxContainerResources {
            cpu_period: 100_000,
            cpu_shares: shares,
            cpu_quota: quota,
            memory_limit_in_bytes: memory,
            memory_swap_limit_in_bytes: memory,
            oom_score_adj: oom,
            ..LinuxContainerResources::default()
        };
        assert_eq!(got, expected, "{case}");
    }
    assert_eq!([2, 1024, 262_144].map(resources::weight), [1, 39, 10_000]);
}

#[test]
fn a_pods_limits_are_sums_or_what_its_beginning_needs() {
    let ask = |cpu: &str| {
        let amounts = json!({"cpu": cpu, "memory": "32Mi"});
        json!({"limits": amounts, "requests": amounts})
    };
    let container = |name: &str, cpu: &str| json!({"name": name, "resources": ask(cpu)});
    let init = |cpu: &str| json!([container("i", cpu), {"name": "s", "restartPolicy": "Always", "resources": ask("500m")}]);
    for (case, spec, expected) in [
        ("sum", json!({"containers": [container("a", "1"), container("b", "2")]}), (3072, 300_000, 64 << 20)),
        (
            "small beginning",
            json!({"initContainers": init("1"), "containers": [container("a", "1")]}),
            (1536, 150_000, 64 << 20),
        ),
        (
            "large beginning",
            json!({"initContainers": init("4"), "containers": [container("a", "1")]}),
            (4096, 400_000, 64 << 20),
        ),
        ("one without", json!({"containers": [container("a", "1"), {"name": "b"}]}), (1024, 0, 0)),
        ("none", json!({"containers": [{"name": "b"}]}), (2, 0, 0)),
        (
            "the pod as a whole",
            json!({"resources": {"limits": {"cpu": "3", "memory": "16Mi"}, "requests": {"cpu": "2"}},
                "containers": [container("a", "1"), {"name": "b"}]}),
            (2048, 300_000, 16 << 20),
        ),
        (
            "what the runtime takes itself",
            json!({"overhead": {"cpu": "500m", "memory": "1Mi"}, "containers": [container("a", "1")]}),
            (1536, 150_000, 33 << 20),
        ),
        (
            "what the runtime takes where nothing is limited",
            json!({"overhead": {"memory": "1Mi"}, "containers": [{"name": "b"}]}),
            (2, 0, 0),
        ),
    ] {
        let limits = resources::of_pod(&pod(&spec));
        assert_eq!((limits.shares, limits.quota, limits.memory), expected, "{case}");
    }
}

#[test]
fn things_lie_where_people_look_for_them() {
    let plain = pod(&json!({"containers": []}));
    assert_eq!(names::log_dir(Path::new("/var/log/pods"), &plain), PathBuf::from("/var/log/pods/d_p_u"));
    assert_eq!(names::log_path("c", 3), "c/3.log");
    let volume = names::pod_dir(Path::new("/k"), "u").join(names::VOLUMES);
    let volume = volume.join(names::volume_place("configmap", "v"));
    assert_eq!(volume, PathBuf::from("/k/pods/u/volumes/kubernetes.io~configmap/v"));
    for (qos, expected) in [
        (Qos::Guaranteed, "/n/kubepods/podu"),
        (Qos::Burstable, "/n/kubepods/burstable/podu"),
        (Qos::BestEffort, "/n/kubepods/besteffort/podu"),
    ] {
        assert_eq!(names::cgroup("/n", qos, "u"), expected);
    }
    for (spec, hostname, domain) in [
        (json!({"containers": []}), "p", None),
        (json!({"containers": [], "hostname": "h"}), "h", None),
        (json!({"containers": [], "hostname": "h", "subdomain": "s"}), "h", Some("s.d.svc.cluster.local")),
        (
            json!({"containers": [], "hostname": "h", "subdomain": "s", "hostnameOverride": "o.x"}),
            "o.x",
            None,
        ),
        (json!({"containers": [], "hostname": format!("{}-b", "a".repeat(62))}), &"a".repeat(62), None),
    ] {
        let pod = pod(&spec);
        assert_eq!(names::hostname(&pod), hostname);
        assert_eq!(names::domain(&pod, "cluster.local").as_deref(), domain);
    }
}

fn made_sandbox(spec: &Value) -> proto::cri::PodSandboxConfig {
    let dns = DnsConfig { servers: vec!["10.96.0.10".to_owned()], ..DnsConfig::default() };
    let around = sandbox::Around {
        log_root: Path::new("/logs"),
        cgroup_root: "/n",
        dns: &dns,
        cluster_domain: "cluster.local",
    };
    sandbox::config(&pod(spec), 2, &around).expect("its name is short")
}

#[test]
fn a_name_longer_than_the_kernel_takes_is_refused() {
    let named = |length: usize| {
        let spec = json!({"containers": [], "hostname": "h".repeat(length), "subdomain": "s", "setHostnameAsFQDN": true});
        let dns = DnsConfig::default();
        let (log_root, cgroup_root, cluster_domain) = (Path::new("/logs"), "/n", "cluster.local");
        let around = sandbox::Around { log_root, cgroup_root, dns: &dns, cluster_domain };
        sandbox::config(&pod(&spec), 0, &around).map(|config| config.hostname).map_err(String::from)
    };
    let domain = "s.d.svc.cluster.local";
    assert_eq!(named(42), Ok(format!("{}.{domain}", "h".repeat(42))));
    let fqdn = format!("{}.{domain}", "h".repeat(43));
    assert_eq!(
        named(43),
        Err(format!(
            "failed to construct FQDN from pod hostname and cluster domain, FQDN {fqdn} is too long \
             (64 characters is the max, 65 characters requested)"
        ))
    );
}

#[test]
fn sandboxes() {
    let plain = made_sandbox(&json!({"containers": [{"name": "c", "ports": [
        {"containerPort": 80}, {"containerPort": 53, "hostPort": 5353, "protocol": "UDP", "hostIP": "192.0.2.1"},
    ]}]}));
    let metadata = plain.metadata.expect("a sandbox has a name");
    assert_eq!((metadata.name.as_str(), metadata.uid.as_str(), metadata.attempt), ("p", "u", 2));
    assert_eq!((plain.hostname.as_str(), plain.log_directory.as_str()), ("p", "/logs/d_p_u"));
    assert_eq!(plain.labels["io.kubernetes.pod.uid"], "u");
    assert_eq!(plain.labels["app"], "x");
    let ports: Vec<_> =
        plain.port_mappings.iter().map(|p| (p.host_port, p.container_port, p.protocol)).collect();
    assert_eq!(ports, [(5353, 53, proto::cri::Protocol::Udp as i32)], "only what the host gives away");
    let linux = plain.linux.expect("a sandbox is Linux's");
    assert_eq!(linux.cgroup_parent, "/n/kubepods/besteffort/podu");

    let [of_node, of_pod, own] =
        [NamespaceMode::Node, NamespaceMode::Pod, NamespaceMode::Container].map(|m| m as i32);
    for (spec, network, pid, ipc) in [
        (json!({"containers": []}), of_pod, own, of_pod),
        (json!({"containers": [], "hostNetwork": true}), of_node, own, of_pod),
        (json!({"containers": [], "hostPID": true, "hostIPC": true}), of_pod, of_node, of_node),
        (json!({"containers": [], "shareProcessNamespace": true}), of_pod, of_pod, of_pod),
    ] {
        let made = made_sandbox(&spec);
        let context = made.linux.and_then(|linux| linux.security_context).expect("it has a context");
        let namespaces = context.namespace_options.expect("it has namespaces");
        assert_eq!((namespaces.network, namespaces.pid, namespaces.ipc), (network, pid, ipc), "{spec}");
        assert_eq!(made.hostname.is_empty(), network == of_node, "the host's name is the host's");
    }

    let context = json!({"runAsGroup": 3, "fsGroup": 4, "supplementalGroups": [5], "sysctls": [{"name": "net/a", "value": "1"}]});
    let made = made_sandbox(&json!({"containers": [{"name": "c", "securityContext": {"privileged": true}}],
        "securityContext": context, "hostname": "h", "subdomain": "s", "setHostnameAsFQDN": true}));
    assert_eq!(made.hostname, "h.s.d.svc.cluster.local");
    let linux = made.linux.expect("a sandbox is Linux's");
    assert_eq!(linux.sysctls["net.a"], "1");
    let security = linux.security_context.expect("it has a context");
    assert!(security.privileged, "what one container needs the sandbox has");
    assert_eq!(security.run_as_group, None, "a group without a user is refused");
    assert_eq!(security.supplemental_groups, [4, 5]);
}

#[test]
fn containers() {
    let pod = pod(&json!({"terminationGracePeriodSeconds": 7, "containers": [{
        "name": "c", "image": "busybox", "command": ["echo", "$(A) $(B) $$(A)"], "args": ["$(A)"], "tty": true,
        "terminationMessagePath": "/w", "terminationMessagePolicy": "File", "workingDir": "/x",
        "stdin": true, "stdinOnce": true,
    }]}));
    let made =
        container::config(&pod, only(&pod), Role::Main, 3, prepared(Some(5), "")).expect("it is allowed");
    let metadata = made.metadata.expect("a container has a name");
    assert_eq!((metadata.name.as_str(), metadata.attempt), ("c", 3));
    assert_eq!(made.command, ["echo", "1 $(B) $(A)"]);
    assert_eq!(made.args, ["1"]);
    assert_eq!((made.log_path.as_str(), made.working_dir.as_str(), made.tty), ("c/3.log", "/x", true));
    assert!(made.stdin && made.stdin_once);
    assert_eq!(made.labels["io.kubernetes.container.name"], "c");
    for (key, value) in [
        ("io.kubernetes.container.restartCount", "3"),
        ("io.kubernetes.container.hash", &pod_spec::container_hash(only(&pod))),
        ("io.kubernetes.container.terminationMessagePath", "/w"),
        ("io.kubernetes.pod.terminationGracePeriod", "7"),
    ] {
        assert_eq!(made.annotations.get(key).map(String::as_str), Some(value), "{key}");
    }
    let image = made.image.expect("a container has an image");
    assert_eq!((image.image.as_str(), image.user_specified_image.as_str()), ("sha256:1", "busybox"));
    let security = made.linux.and_then(|linux| linux.security_context).expect("it has a context");
    assert_eq!(security.run_as_user.map(|user| user.value), Some(5), "the image's user");
    assert!(security.masked_paths.contains(&"/proc/kcore".to_owned()));
    assert_eq!(security.seccomp.map(|s| s.profile_type), Some(ProfileType::Unconfined as i32));
}

#[test]
fn security_contexts() {
    let made = |of_pod: Value, own: Value| {
        let pod =
            pod(&json!({"securityContext": of_pod, "containers": [{"name": "c", "securityContext": own}]}));
        let made = container::config(&pod, only(&pod), Role::Main, 0, prepared(None, "nobody"))
            .expect("it is allowed");
        made.linux.and_then(|linux| linux.security_context).expect("it has a context")
    };
    let user = |s: &proto::cri::LinuxContainerSecurityContext| s.run_as_user.as_ref().map(|user| user.value);
    let plain = made(json!({}), json!({}));
    assert_eq!((user(&plain), plain.run_as_username.as_str(), plain.no_new_privs), (None, "nobody", false));
    let both = made(json!({"runAsUser": 1, "runAsGroup": 2}), json!({"runAsUser": 3}));
    assert_eq!((user(&both), both.run_as_username.as_str()), (Some(3), ""));
    assert_eq!(both.run_as_group.map(|group| group.value), Some(2));
    let strict = made(
        json!({"seccompProfile": {"type": "RuntimeDefault"}}),
        json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
            "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]}}),
    );
    assert!(strict.no_new_privs && strict.readonly_rootfs);
    assert_eq!(strict.seccomp.map(|s| s.profile_type), Some(ProfileType::RuntimeDefault as i32));
    let capabilities = strict.capabilities.expect("capabilities are always told");
    assert_eq!(
        (&capabilities.add_capabilities[..], &capabilities.drop_capabilities[..]),
        (&["NET_ADMIN".to_owned()][..], &["ALL".to_owned()][..])
    );
    let free = made(json!({"seccompProfile": {"type": "RuntimeDefault"}}), json!({"privileged": true}));
    assert!(free.privileged && free.masked_paths.is_empty() && free.readonly_paths.is_empty());
    assert_eq!(free.seccomp.map(|s| s.profile_type), Some(ProfileType::Unconfined as i32));
}

#[test]
fn programs_that_must_not_be_root() {
    let who = "(pod: \"p_d(u)\", container: c)";
    for (own, image_user, image_username, refusal) in [
        (json!({"runAsNonRoot": true}), Some(5), "", None),
        (json!({"runAsNonRoot": true, "runAsUser": 5}), Some(0), "", None),
        (
            json!({"runAsNonRoot": true}),
            Some(0),
            "",
            Some("container has runAsNonRoot and image will run as root"),
        ),
        (
            json!({"runAsNonRoot": true, "runAsUser": 0}),
            Some(5),
            "",
            Some("container's runAsUser breaks non-root policy"),
        ),
        (
            json!({"runAsNonRoot": true}),
            None,
            "nobody",
            Some(
                "container has runAsNonRoot and image has non-numeric user (nobody), cannot verify user is non-root",
            ),
        ),
        (json!({"runAsNonRoot": false}), Some(0), "", None),
    ] {
        let pod = pod(
            &json!({"securityContext": {"runAsNonRoot": true}, "containers": [{"name": "c", "securityContext": own}]}),
        );
        let made = container::config(&pod, only(&pod), Role::Main, 0, prepared(image_user, image_username));
        assert_eq!(made.err(), refusal.map(|refusal| api::message!("{refusal} {who}")), "{own}");
    }
}

#[test]
fn volumes_are_mounted() {
    let pod = pod(&json!({"containers": [{"name": "c", "volumeMounts": [
        {"name": "v", "mountPath": "/v", "mountPropagation": "HostToContainer"},
        {"name": "r", "mountPath": "r", "subPath": "x"},
        {"name": "v", "mountPath": "/e", "subPathExpr": "$(A)/y", "readOnly": true},
    ]}]}));
    let volume = |path: &str, read_only| VolumePath { path: PathBuf::from(path), read_only };
    let mut volumes: BTreeMap<String, VolumePath> =
        [("v".to_owned(), volume("/host/v", false)), ("r".to_owned(), volume("/host/r", true))].into();
    let env = environment();
    let inside = |index: usize, _: &VolumeMount, volume: &VolumePath, sub: &str| {
        Ok(volume.path.join(index.to_string()).join(sub))
    };
    let mounts = container::mounts(only(&pod), &volumes, &env, false, inside).expect("all volumes are there");
    let short: Vec<_> =
        mounts.iter().map(|m| (m.container_path.as_str(), m.host_path.as_str(), m.readonly)).collect();
    let expected = [("/v", "/host/v", false), ("/r", "/host/r/1/x", true), ("/e", "/host/v/2/1/y", true)];
    assert_eq!(short, expected);
    let propagation = [MountPropagation::PropagationHostToContainer, MountPropagation::PropagationPrivate];
    assert_eq!([mounts[0].propagation, mounts[1].propagation], propagation.map(|p| p as i32));
    for (value, refusal) in [
        ("", "missing value for A"),
        ("/etc", "error SubPath `/etc/y` must not be an absolute path"),
        ("a/..", "unable to provision SubPath `a/../y`: must not contain '..'"),
    ] {
        let mut env = Environment::default();
        env.put("A", value.to_owned()).expect("it is short");
        let refused = container::mounts(only(&pod), &volumes, &env, false, inside);
        assert_eq!(refused, Err(Message::from(refusal.to_owned())));
    }
    volumes.remove("r");
    let missing = container::mounts(only(&pod), &volumes, &env, false, inside);
    assert_eq!(
        missing,
        Err(Message::from("cannot find volume \"r\" to mount into container \"c\"".to_owned()))
    );
}

#[test]
fn what_confines_a_container_reaches_the_runtime_or_the_container_is_not_made() {
    let made = |pod_context: Value, context: Value| {
        let pod = pod(
            &json!({"securityContext": pod_context, "containers": [{"name": "c", "securityContext": context}]}),
        );
        let config = container::config(&pod, only(&pod), Role::Main, 0, prepared(Some(0), ""))?;
        Ok::<_, String>(config.linux.and_then(|linux| linux.security_context).expect("it has a context"))
    };
    let seccomp = |profile: Value| {
        let made = made(json!({}), json!({"seccompProfile": profile}))?;
        let profile = made.seccomp.expect("there always is one");
        Ok::<_, String>((profile.profile_type, profile.localhost_ref))
    };
    let local = |name: &str| seccomp(json!({"type": "Localhost", "localhostProfile": name}));
    let path = (ProfileType::Localhost as i32, "/k/seccomp/a/b.json".to_owned());
    assert_eq!(local("a/b.json"), Ok(path));
    for outside in ["../b", "/b", "a/../../b"] {
        let why = format!("localhostProfile {outside:?} must be a path below the node's folder of profiles");
        assert_eq!(local(outside), Err(why));
    }
    let unnamed = "localhostProfile must be set if seccompProfile type is Localhost.";
    assert_eq!(seccomp(json!({"type": "Localhost"})), Err(unnamed.to_owned()));
    assert_eq!(seccomp(json!({"type": "Strict"})), Err("unknown seccomp profile type \"Strict\"".to_owned()));

    let pod_context = json!({
        "appArmorProfile": {"type": "Localhost", "localhostProfile": "p"},
        "seLinuxOptions": {"level": "s0:c1"},
        "supplementalGroupsPolicy": "Strict",
    });
    let of_pod = made(pod_context.clone(), json!({})).expect("nothing is wrong with it");
    let profile = of_pod.apparmor.expect("the pod has one");
    assert_eq!((profile.profile_type, profile.localhost_ref.as_str()), (ProfileType::Localhost as i32, "p"));
    assert_eq!(of_pod.selinux_options.map(|options| options.level), Some("s0:c1".to_owned()));
    assert_eq!(of_pod.supplemental_groups_policy, SupplementalGroupsPolicy::Strict as i32);
    let own = json!({"appArmorProfile": {"type": "RuntimeDefault"}, "seLinuxOptions": {"type": "t"}});
    let own = made(pod_context, own).expect("nothing is wrong with it");
    assert_eq!(own.apparmor.map(|p| p.profile_type), Some(ProfileType::RuntimeDefault as i32));
    assert_eq!(own.selinux_options.map(|o| (o.r#type, o.level)), Some(("t".to_owned(), String::new())));
}

#[test]
fn the_pod_as_a_whole_limits_a_container_without_limits_and_gives_it_its_class() {
    let made = |whole: Value, own: Value| {
        let pod = pod(&json!({"resources": whole, "containers": [{"name": "c", "resources": own}]}));
        let resources = resources::of_container(&pod, only(&pod), Role::Main, 1 << 30);
        (Qos::of(&pod), resources.cpu_shares, resources.cpu_quota, resources.memory_limit_in_bytes)
    };
    let whole = json!({"limits": {"cpu": "2", "memory": "64Mi"}, "requests": {"cpu": "2", "memory": "64Mi"}});
    assert_eq!(made(whole.clone(), json!({})), (Qos::Guaranteed, 2048, 200_000, 64 << 20));
    let own = json!({"limits": {"cpu": "1"}});
    assert_eq!(made(whole, own), (Qos::Guaranteed, 1024, 100_000, 64 << 20));
    assert_eq!(made(json!({"requests": {"cpu": "1"}}), json!({})), (Qos::Burstable, 2, 0, 0));
}
