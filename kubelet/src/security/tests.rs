//! Whether the node enforces what pods say about their isolation.

use api::Message;

use k8s_openapi::api::core::v1::VolumeMount;
use serde_json::{Value, json};

use super::*;

fn pod(spec: Value) -> Pod {
    let mut spec = spec;
    if spec.get("containers").is_none() {
        spec["containers"] = json!([{"name": "c"}]);
    }
    serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).expect("the test's pod is one")
}

/// A node that can do nothing special.
fn plain() -> Abilities {
    let sysctls = Sysctls::new("6.1.0", &["kernel.msg*".to_owned(), "net.core.somaxconn".to_owned()]);
    Abilities { sysctls: sysctls.expect("the test's settings are kept apart"), ..Abilities::default() }
}

/// A node that can do everything.
fn able() -> Abilities {
    Abilities { app_armor: true, selinux: true, groups_policy: true, recursive_read_only: true, ..plain() }
}

#[test]
fn a_pod_that_the_node_does_not_confine_is_refused_with_its_reason() {
    let context = |context: Value| json!({"securityContext": context});
    let container = |context: Value| json!({"containers": [{"name": "c", "securityContext": context}]});
    let sysctl = |name: &str| context(json!({"sysctls": [{"name": name, "value": "1"}]}));
    let selinux = |options: Value| context(json!({"seLinuxOptions": options}));
    let no_app_armor = "AppArmor: Cannot enforce AppArmor: AppArmor is not enabled on the host";
    let no_selinux =
        "SELinux: Cannot enforce SELinux: SELinux is not enabled on the host or in the container runtime";
    let strict =
        "SupplementalGroupsPolicyNotSupported: SupplementalGroupsPolicy=Strict is not supported in this node";
    let msgmax = "SysctlForbidden: forbidden sysctl: \"kernel.sem\" not allowlisted";
    let shared =
        "SysctlForbidden: forbidden sysctl: \"net.ipv4.tcp_syncookies\" not allowed with host Net enabled";
    let with_init = json!({"containers": [{"name": "c"}], "initContainers": [
        {"name": "i", "securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}}}]});
    let mut host_network = sysctl("net.ipv4.tcp_syncookies");
    host_network["hostNetwork"] = json!(true);
    let cases = [
        // What is asked, what a plain node says, what one that can do everything says.
        (json!({}), None, None),
        (context(json!({"appArmorProfile": {"type": "RuntimeDefault"}})), Some(no_app_armor), None),
        (context(json!({"appArmorProfile": {"type": "Unconfined"}})), None, None),
        (
            container(json!({"appArmorProfile": {"type": "Localhost", "localhostProfile": "x"}})),
            Some(no_app_armor),
            None,
        ),
        (
            container(json!({"appArmorProfile": {"type": "Localhost", "localhostProfile": " "}})),
            Some(no_app_armor),
            Some("AppArmor: Cannot enforce AppArmor: invalid empty AppArmor profile name: \"\""),
        ),
        (
            container(json!({"appArmorProfile": {"type": "Better"}})),
            Some(no_app_armor),
            Some("AppArmor: Cannot enforce AppArmor: unknown AppArmor profile type \"Better\""),
        ),
        (with_init, Some(no_app_armor), None),
        (selinux(json!({})), None, None),
        (selinux(json!({"level": "s0"})), None, None),
        (selinux(json!({"level": "s0:c1,c2"})), None, None),
        (selinux(json!({"level": "s0:c1,c2", "type": "my_t"})), Some(no_selinux), None),
        (selinux(json!({"type": "spc_t", "level": "s0"})), None, None),
        (container(json!({"seLinuxOptions": {"type": "my_t"}})), Some(no_selinux), None),
        (container(json!({"privileged": true, "seLinuxOptions": {"type": "my_t"}})), None, None),
        (context(json!({"supplementalGroupsPolicy": "Strict"})), Some(strict), None),
        (context(json!({"supplementalGroupsPolicy": "Merge"})), None, None),
        (sysctl("kernel.shm_rmid_forced"), None, None),
        (sysctl("net/ipv4/tcp_syncookies"), None, None),
        (sysctl("kernel.sem"), Some(msgmax), Some(msgmax)),
        (sysctl("kernel.msgmax"), None, None),
        (sysctl("net.core.somaxconn"), None, None),
        (host_network, Some(shared), Some(shared)),
        (
            json!({"os": {"name": "windows"}}),
            Some("PodOSNotSupported: Failed to admit pod as the OS field doesn't match node OS"),
            Some("PodOSNotSupported: Failed to admit pod as the OS field doesn't match node OS"),
        ),
        (json!({"os": {"name": "linux"}}), None, None),
    ];
    for (spec, on_plain, on_able) in cases {
        for (node, expected) in [(plain(), on_plain), (able(), on_able)] {
            let refused = admit(&pod(spec.clone()), &node).err();
            let words =
                refused.map(|r| format!("{}: {}", r.reason, r.message.replace("Pod was rejected: ", "")));
            assert_eq!(words.as_deref(), expected, "{spec}");
        }
    }
}

#[test]
fn an_old_annotation_asks_for_a_profile_too() {
    let mut pod = pod(json!({}));
    let key = "container.apparmor.security.beta.kubernetes.io/c".to_owned();
    for (value, admitted) in [("unconfined", true), ("runtime/default", false), ("localhost/x", false)] {
        pod.metadata.annotations = Some([(key.clone(), value.to_owned())].into());
        assert_eq!(admit(&pod, &plain()).is_ok(), admitted, "{value}");
        assert!(admit(&pod, &able()).is_ok(), "{value}");
    }
}

#[test]
fn a_pod_that_wants_users_or_devices_of_its_own_gets_no_sandbox() {
    let unmasked = json!([{"name": "c", "securityContext": {"procMount": "Unmasked"}}]);
    let users = "Failed to create pod sandbox: can't set `spec.hostUsers: false`, this node does not support user namespaces";
    let proc = "Failed to create pod sandbox: `hostUsers` must be false for the procMount of container \"c\"";
    let claims =
        "Failed to prepare dynamic resources: this node has no drivers for resource claims such as \"gpu\"";
    for (spec, expected) in [
        (json!({}), None),
        (json!({"hostUsers": true}), None),
        (json!({"hostUsers": false}), Some(users)),
        (json!({"hostUsers": false, "containers": unmasked}), Some(users)),
        (json!({"containers": unmasked}), Some(proc)),
        (json!({"resourceClaims": [{"name": "gpu", "resourceClaimName": "one"}]}), Some(claims)),
        (json!({"containers": [{"name": "c", "securityContext": {"procMount": "Default"}}]}), None),
    ] {
        let refused = sandbox(&pod(spec.clone()), &able()).err();
        assert_eq!(refused.map(|refusal| refusal.message).as_deref(), expected, "{spec}");
    }
}

#[test]
fn a_container_that_comes_later_is_checked_like_the_others() {
    let ephemeral = |context: Value| {
        let pod = pod(json!({"ephemeralContainers": [{"name": "e", "securityContext": context}]}));
        let found = pod_spec::all_containers(&pod).find(|c| c.name == "e").expect("it is in the pod");
        container(&pod, &found, &plain()).is_ok()
    };
    assert!(ephemeral(json!({"readOnlyRootFilesystem": true})));
    for context in [
        json!({"procMount": "Unmasked"}),
        json!({"seLinuxOptions": {"type": "my_t"}}),
        json!({"appArmorProfile": {"type": "RuntimeDefault"}}),
    ] {
        assert!(!ephemeral(context.clone()), "{context}");
    }
}

#[test]
fn a_container_that_asks_for_what_is_not_done_is_not_made() {
    let rules = |action: &str| json!({"restartPolicyRules": [{"action": action, "exitCodes": {"operator": "In", "values": [1]}}]});
    for (own, expected) in [
        (json!({"restartPolicy": "Never"}), None),
        (json!({"env": [{"name": "A", "value": "a"}]}), None),
        (rules("Restart"), None),
        (
            rules("RestartAllContainers"),
            Some(
                "container \"c\" has restartPolicyRules with another action than Restart, which this node does not do",
            ),
        ),
    ] {
        let mut own = own;
        own["name"] = json!("c");
        let pod = pod(json!({"containers": [own, {"name": "d"}]}));
        let made = |name: &str| {
            let found = pod_spec::all_containers(&pod).find(|c| c.name == name).expect("it is in the pod");
            container(&pod, &found, &able()).err()
        };
        assert_eq!((made("c").as_deref(), made("d")), (expected, None));
    }
}

#[test]
fn the_runtime_is_asked_where_its_answer_matters() {
    let selinux = json!({"seLinuxOptions": {"type": "my_t"}});
    let mount =
        |mode: &str| json!([{"name": "v", "mountPath": "/v", "readOnly": true, "recursiveReadOnly": mode}]);
    let container = |own: Value| {
        let mut own = own;
        own["name"] = json!("c");
        json!({"containers": [own]})
    };
    let late = json!([{"name": "e", "volumeMounts": mount("Enabled")}]);
    for (spec, asked) in [
        (json!({}), false),
        (json!({"securityContext": {"supplementalGroupsPolicy": "Strict"}}), true),
        (json!({"securityContext": {"supplementalGroupsPolicy": "Merge"}}), false),
        (json!({"securityContext": selinux}), true),
        (json!({"securityContext": {"seLinuxOptions": {"level": "s0"}}}), false),
        (json!({"securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}}}), false),
        (container(json!({"securityContext": selinux})), true),
        (container(json!({"volumeMounts": mount("IfPossible")})), true),
        (container(json!({"volumeMounts": mount("Enabled")})), true),
        (container(json!({"volumeMounts": mount("Disabled")})), false),
        (json!({"ephemeralContainers": late}), true),
    ] {
        assert_eq!(asks_runtime(&pod(spec.clone())), asked, "{spec}");
    }
}

#[test]
fn mounts_are_read_only_all_the_way_down_or_not_made() {
    let mount = |mount: Value| {
        let mut all = json!({"name": "v", "mountPath": "/v"});
        let more = mount.as_object().expect("the test's mount is an object").clone();
        all.as_object_mut().expect("it was made as one").extend(more);
        serde_json::from_value::<VolumeMount>(all).expect("the test's mount is one")
    };
    let why = |why: &str| Err(format!("volume \"v\" requested recursive read-only mode, but it is {why}"));
    let lacking = why("not supported by the runtime");
    for (asked, on_plain, on_able) in [
        (json!({}), Ok(false), Ok(false)),
        (json!({"readOnly": true, "recursiveReadOnly": "Disabled"}), Ok(false), Ok(false)),
        (json!({"readOnly": true, "recursiveReadOnly": "IfPossible"}), Ok(false), Ok(true)),
        (json!({"readOnly": true, "recursiveReadOnly": "Enabled"}), lacking, Ok(true)),
        (json!({"recursiveReadOnly": "Enabled"}), why("not read-only"), why("not read-only")),
        (
            json!({"readOnly": true, "recursiveReadOnly": "Enabled", "mountPropagation": "Bidirectional"}),
            why("not compatible with propagation \"Bidirectional\""),
            why("not compatible with propagation \"Bidirectional\""),
        ),
    ] {
        assert_eq!(
            recursive_read_only(&mount(asked.clone()), false),
            on_plain.map_err(Message::from),
            "{asked}"
        );
        assert_eq!(
            recursive_read_only(&mount(asked.clone()), true),
            on_able.map_err(Message::from),
            "{asked}"
        );
    }
}

#[test]
fn settings_are_allowed_by_kernel_and_by_the_nodes_owner() {
    let old = Sysctls::new("4.4.0-generic", &[]).expect("there is nothing to refuse");
    assert!(old.check("net.ipv4.tcp_rmem", false, false).is_err());
    assert!(old.check("net.ipv4.tcp_syncookies", false, false).is_ok());
    for (pattern, taken) in [
        ("kernel.msg*", true),
        ("kernel.sem", true),
        ("net.*", true),
        ("net.ipv4.route.min_pmtu", true),
        ("fs.mqueue.msg_max", true),
        ("vm.swappiness", false),
        ("kernel.*", false),
        ("net.*.x", false),
    ] {
        assert_eq!(Sysctls::new("6.1", &[pattern.to_owned()]).is_ok(), taken, "{pattern}");
    }
    for (name, expected) in [
        ("net.ipv4.conf.eno2/100.rp_filter", "net.ipv4.conf.eno2/100.rp_filter"),
        ("net/ipv4/conf/eno2.100/rp_filter", "net.ipv4.conf.eno2/100.rp_filter"),
        ("vm", "vm"),
    ] {
        assert_eq!(dotted(name), expected);
    }
}
