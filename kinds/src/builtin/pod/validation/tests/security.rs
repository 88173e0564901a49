//! Who a pod's programs are, and what they may.

use super::*;

#[test]
fn security_and_names_are_checked() {
    check(vec![
        (
            container(json!({"securityContext": {"runAsUser": -5, "seccompProfile": {"type": "Localhost"}}})),
            &[
                "spec.containers[0].securityContext.runAsUser: Invalid value: -5: must be between 0 and 2147483647, inclusive",
                "spec.containers[0].securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost",
            ],
        ),
        (
            with(json!({"hostPID": true, "shareProcessNamespace": true})),
            &[
                "spec.securityContext.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled",
            ],
        ),
        (
            with(json!({"dnsPolicy": "None"})),
            &["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"],
        ),
        (
            with(json!({"hostname": "A", "activeDeadlineSeconds": -1})),
            &[
                "spec.activeDeadlineSeconds: Invalid value: -1: must be between 1 and 2147483647, inclusive",
                "spec.hostname: Invalid value: \"A\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
            ],
        ),
    ]);
}

#[test]
fn users_of_its_own_go_with_no_other_namespace_of_the_host() {
    check(vec![
        (with(json!({"hostUsers": false})), &[]),
        (with(json!({"hostUsers": true, "hostPID": true})), &[]),
        (
            with(json!({"hostUsers": false, "hostNetwork": true, "hostPID": true, "hostIPC": true})),
            &[
                "spec.hostNetwork: Forbidden: when `hostUsers` is false",
                "spec.HostPID: Forbidden: when `hostUsers` is false",
                "spec.HostIPC: Forbidden: when `hostUsers` is false",
            ],
        ),
    ]);
}

#[test]
fn a_bare_proc_needs_users_of_its_own() {
    let pod = |host_users: Option<bool>, mount: &str| {
        let mut pod = container(json!({"securityContext": {"procMount": mount}}));
        pod["hostUsers"] = json!(host_users);
        pod
    };
    let words = "spec.containers[0].securityContext.procMount: Invalid value: \"Unmasked\": `hostUsers` must be false to use `Unmasked`";
    check(vec![
        (pod(None, "Default"), &[]),
        (pod(None, "Unmasked"), &[words]),
        (pod(Some(true), "Unmasked"), &[words]),
        (pod(Some(false), "Unmasked"), &[]),
    ]);
}

#[test]
fn windows_options_are_looked_at_on_every_system() {
    let user =
        |name: &str| container(json!({"securityContext": {"windowsOptions": {"runAsUserName": name}}}));
    let tell = |name: &str| -> Vec<String> {
        let shown = format!("{name:?}");
        let at = "spec.containers[0].securityContext.windowsOptions.runAsUserName: Invalid value: ";
        wrong(user(name)).iter().map(|why| why.replace(at, "").replace(&shown, "")).collect()
    };
    for (name, expected) in [
        ("ContainerUser", &[] as &[&str]),
        ("NT AUTHORITY\\NETWORK SERVICE", &[]),
        ("My.Domain-of-more-letters\\u", &[]),
        ("", &[": runAsUserName cannot be an empty string"]),
        ("a\n", &[": runAsUserName cannot contain control characters"]),
        ("a\\b\\c", &[": runAsUserName cannot contain more than one backslash"]),
        ("a\\b:", &[": runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]"]),
        (
            ".longer than a name\\. .",
            &[
                ": runAsUserName's Domain doesn't match the NetBios nor the DNS format",
                ": runAsUserName's User cannot contain only periods or spaces",
            ],
        ),
        ("a\\", &[": runAsUserName's User cannot be empty"]),
    ] {
        assert_eq!(tell(name), expected, "{name}");
    }
    let long = tell(&format!("{}\\{}", "x".repeat(256), "y".repeat(105)));
    assert_eq!(
        long,
        [
            ": runAsUserName's Domain length must be under 256 characters",
            ": runAsUserName's Domain doesn't match the NetBios nor the DNS format",
            ": runAsUserName's User length must not be longer than 104 characters",
        ]
    );
    let options = |options: Value| json!({"windowsOptions": options});
    let process = |is: bool| options(json!({"hostProcess": is}));
    let network = "spec.hostNetwork: Invalid value: false: hostNetwork must be true if pod contains any hostProcess containers";
    check(vec![
        (with(json!({"securityContext": process(true)})), &[network]),
        (container(json!({"securityContext": process(true)})), &[network]),
        (with(json!({"securityContext": process(true), "hostNetwork": true})), &[]),
        (
            json!({
                "hostNetwork": true, "securityContext": process(false),
                "containers": [{"name": "a", "image": "i", "securityContext": process(true)}, {"name": "b", "image": "i"}],
            }),
            &[
                "spec.containers[0].securityContext.windowsOptions.hostProcess: Invalid value: true: pod hostProcess value must be identical if both are specified, was false",
                "spec: Invalid value: \"\": If pod contains any hostProcess containers then all containers must be HostProcess containers",
            ],
        ),
        (
            with(
                json!({"securityContext": options(json!({"gmsaCredentialSpecName": "A", "gmsaCredentialSpec": ""}))}),
            ),
            &[
                "spec.securityContext.windowsOptions.gmsaCredentialSpecName: Invalid value: \"A\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
                "spec.securityContext.windowsOptions.gmsaCredentialSpec: Invalid value: \"\": gmsaCredentialSpec cannot be an empty string",
            ],
        ),
    ]);
}

#[test]
fn profiles_are_named_where_they_are_the_nodes() {
    let at = |field: &str, why: &str| format!("spec.securityContext.{field}{why}");
    let long = "x".repeat(4096);
    for (type_, local, of_seccomp, of_app_armor) in [
        (
            "Localhost",
            Some(""),
            "",
            ".localhostProfile: Required value: must be set when AppArmor type is Localhost",
        ),
        (
            "Localhost",
            None,
            ".localhostProfile: Required value: must be set when seccomp type is Localhost",
            ".localhostProfile: Required value: must be set when AppArmor type is Localhost",
        ),
        ("Localhost", Some("/a"), ".localhostProfile: Invalid value: \"/a\": must be a relative path", ""),
        ("Localhost", Some("../a"), ".localhostProfile: Invalid value: \"../a\": must not contain '..'", ""),
        (
            "Localhost",
            Some(" a"),
            "",
            ".localhostProfile: Invalid value: \" a\": must not be padded with whitespace",
        ),
        ("Localhost", Some(&long), "", ".localhostProfile: Too long: may not be more than 4095 bytes"),
        (
            "Unconfined",
            Some("a"),
            ".localhostProfile: Invalid value: {\"Type\":\"Unconfined\",\"LocalhostProfile\":\"a\"}: can only be set when seccomp type is Localhost",
            ".localhostProfile: Invalid value: \"a\": can only be set when AppArmor type is Localhost",
        ),
        (
            "",
            None,
            ".type: Required value: type is required when seccompProfile is set",
            ".type: Required value: type is required when appArmorProfile is set",
        ),
    ] {
        for (field, why) in [("seccompProfile", of_seccomp), ("appArmorProfile", of_app_armor)] {
            let mut profile = json!({"type": type_});
            if let Some(local) = local {
                profile["localhostProfile"] = local.into();
            }
            let expected = Some(at(field, why)).filter(|_| !why.is_empty());
            let found = wrong(with(json!({"securityContext": {field: profile}})));
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{field} {type_} {local:?}");
        }
    }
}
