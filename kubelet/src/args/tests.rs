use super::*;

#[test]
fn limits_are_checked() {
    use clap::Parser as _;

    let config = |flags: &[&str]| {
        let needed = ["kubelet", "--kubeconfig=k", "--client-ca-file=c", "--node-ip=192.0.2.1"];
        let args = Args::try_parse_from(needed.iter().chain(flags)).map_err(|error| error.to_string())?;
        args.into_config().map_err(|error| error.to_string())
    };
    let usual = config(&[]).unwrap();
    assert_eq!(usual.logs, log_rotation::Limits { size: Some(10 << 20), files: 5 });
    assert_eq!(usual.image_gc, Thresholds { high: 85, low: 80 });
    let processes = |flags: &[&str]| config(flags).unwrap().pod_processes;
    assert_eq!(processes(&[]), None);
    assert_eq!(processes(&["--pod-max-pids", "-1"]), None);
    assert_eq!(processes(&["--pod-max-pids=100"]), Some(100));
    assert_eq!(config(&["--container-log-max-size=-1"]).unwrap().logs.size, None);
    for (flags, words) in [
        (&["--container-log-max-size=big"][..], "--container-log-max-size: \"big\" is no size such as 10Mi"),
        (&["--container-log-max-files=1"], "--container-log-max-files: 1 is too few"),
        (&["--image-gc-low-threshold=90"], "must be below --image-gc-high-threshold 85"),
        (&["--image-gc-high-threshold=101"], "101 is not in 0..=100"),
    ] {
        let error = config(flags).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn taints_are_read() {
    let read = taint("dedicated=gpu:NoSchedule").unwrap();
    assert_eq!((read.key.as_str(), read.value.as_deref()), ("dedicated", Some("gpu")));
    assert_eq!(taint("bare:NoExecute").unwrap().value, None);
    assert!(taint("a=b").is_err());
    assert!(taint("a=b:Sometimes").is_err());
}
