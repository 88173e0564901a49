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
}

#[test]
fn wrong_flags_are_refused_in_words() {
    let cases: [(&[&str], &str); 5] = [
        (
            &["--cluster-cidr", "10.244.0.0/16", "--node-cidr-mask-size", "8"],
            "does not fit into --cluster-cidr",
        ),
        (&["--cluster-cidr", "nonsense"], "--cluster-cidr"),
        (&["--node-monitor-grace-period", "5 apples"], "unknown unit \" apples\""),
        (&["--node-monitor-grace-period", "1s"], "must not be shorter"),
        (&["--root-ca-file", "/does/not/exist"], "--root-ca-file /does/not/exist"),
    ];
    for (flags, words) in cases {
        let error = config(flags).unwrap_err();
        assert!(error.contains(words), "{flags:?}: {error}");
    }
}
