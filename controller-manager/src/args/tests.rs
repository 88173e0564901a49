use super::*;

fn config(flags: &[&str]) -> Result<Config, String> {
    let all = ["controller-manager", "--kubeconfig", "k"].iter().chain(flags);
    Args::try_parse_from(all)
        .map_err(|error| error.to_string())?
        .into_config()
        .map_err(|error| format!("{error:#}"))
}

#[test]
fn flags_become_a_configuration() {
    let config = config(&[
        "--cluster-cidr",
        "10.244.1.2/16",
        "--node-monitor-grace-period=1m30s",
        "--leader-elect=false",
    ])
    .unwrap();
    assert_eq!(config.node_ranges, Some(("10.244.0.0/16".parse().unwrap(), 24)));
    assert_eq!(config.node_grace, Duration::from_secs(90));
    assert!(!config.leader_elect);
    assert_eq!(config.serving.address.port(), 10257);
    assert!(config.controllers.has("job-controller"));
}

#[test]
fn wrong_flags_are_refused_in_words() {
    let cases: [(&[&str], &str); 10] = [
        (&["--controllers=*,jobs"], "--controllers: \"jobs\" is not in the list of controllers: bootstrap"),
        (
            &["--cluster-cidr", "10.244.0.0/16", "--node-cidr-mask-size", "8"],
            "does not fit into --cluster-cidr",
        ),
        (&["--cluster-cidr", "nonsense"], "--cluster-cidr"),
        (&["--node-monitor-grace-period", "5 apples"], "unknown unit \" apples\""),
        (&["--node-monitor-grace-period", "1s"], "must not be shorter"),
        (&["--root-ca-file", "/does/not/exist"], "--root-ca-file /does/not/exist"),
        (&["--cluster-signing-key-file=k"], "--cluster-signing-cert-file <FILE>"),
        (
            &["--cluster-signing-kubelet-client-cert-file=c"],
            "\"cluster-signing-kube-apiserver-client\": cannot specify cert without key",
        ),
        (
            &["--cluster-signing-legacy-unknown-key-file=k"],
            "\"cluster-signing-legacy-unknown\": cannot specify key without cert",
        ),
        (
            &[
                "--cluster-signing-cert-file=c",
                "--cluster-signing-key-file=k",
                "--cluster-signing-kubelet-serving-cert-file=c",
                "--cluster-signing-kubelet-serving-key-file=k",
            ],
            "cannot specify --cluster-signing-{cert,key}-file and other --cluster-signing-*-file flags at the same time",
        ),
    ];
    for (flags, words) in cases {
        let error = config(flags).unwrap_err();
        assert!(error.contains(words), "{flags:?}: {error}");
    }
}

#[test]
fn signers_share_an_authority_or_have_their_own() {
    let one = config(&["--cluster-signing-cert-file=c", "--cluster-signing-key-file=k"]).unwrap().signers;
    assert_eq!(one.len(), 4);
    assert!(one.values().all(|files| *files == ("c".into(), "k".into())));
    let own = config(&[
        "--cluster-signing-kube-apiserver-client-cert-file=c",
        "--cluster-signing-kube-apiserver-client-key-file=k",
        "--cluster-signing-kubelet-serving-cert-file=s",
        "--cluster-signing-kubelet-serving-key-file=t",
    ]);
    let expected = [(CLIENT, ("c".into(), "k".into())), (KUBELET_SERVING, ("s".into(), "t".into()))];
    assert_eq!(own.unwrap().signers, Signers::from(expected));
    assert!(config(&[]).unwrap().signers.is_empty());
}
