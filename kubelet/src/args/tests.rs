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
        (
            &["--tls-cert-file=c", "--tls-private-key-file=k", "--rotate-server-certificates"],
            "only one can be used",
        ),
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

/// The configuration of a kubelet with a file of these fields.
fn with_file(fields: serde_json::Value, flags: &[&str]) -> anyhow::Result<Config> {
    let file = tempfile::NamedTempFile::new()?;
    let mut all =
        serde_json::json!({"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"});
    all.as_object_mut().expect("it is an object").extend(fields.as_object().expect("so are they").clone());
    std::fs::write(file.path(), all.to_string())?;
    let named = format!("--config={}", file.path().display());
    let needed = ["kubelet", "--kubeconfig=k", "--node-ip=192.0.2.1", &named];
    let given = file::CONFIGURATION.arguments(needed.iter().chain(flags).map(Into::into))?;
    <Args as clap::Parser>::try_parse_from(given)?.into_config()
}

#[test]
fn what_a_kubelet_tells_of_itself_can_be_told_to_another() {
    let flags = [
        "--client-ca-file=c",
        "--max-pods=7",
        "--cluster-dns=192.0.2.10,192.0.2.11",
        "--register-with-taints=a=b:NoSchedule,c:NoExecute",
        "--eviction-hard=memory.available<200Mi,nodefs.available<3%",
        "--pod-manifest-path=/m",
        "--pod-max-pids=100",
        "--container-log-max-size=5Mi",
        "--image-gc-high-threshold=70",
        "--image-gc-low-threshold=0",
        "--healthz-port=0",
        "--provider-id=toy://1",
        "--tls-cert-file=cert",
        "--tls-private-key-file=key",
    ];
    let config = with_file(serde_json::json!({}), &flags).unwrap();
    let told = crate::server::configz::of(&config)["kubeletconfig"].clone();
    assert_eq!(with_file(told, &[]).unwrap(), config);
    let usual = with_file(serde_json::json!({}), &flags[..1]).unwrap();
    let told = crate::server::configz::of(&usual)["kubeletconfig"].clone();
    assert_eq!(with_file(told, &[]).unwrap(), usual);
}

#[test]
fn a_file_of_kubeadm_is_understood_but_for_what_is_not_done_here() {
    let file = serde_json::json!({
        "authentication": {"anonymous": {"enabled": false}, "webhook": {"cacheTTL": "0s", "enabled": true},
            "x509": {"clientCAFile": "/etc/kubernetes/pki/ca.crt"}},
        "authorization": {"mode": "Webhook",
            "webhook": {"cacheAuthorizedTTL": "0s", "cacheUnauthorizedTTL": "0s"}},
        "cgroupDriver": "cgroupfs", "cgroupRoot": "/kubelet",
        "clusterDNS": ["10.96.0.10"], "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": "", "cpuManagerReconcilePeriod": "0s", "crashLoopBackOff": {},
        "evictionHard": {"imagefs.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%"},
        "evictionPressureTransitionPeriod": "0s", "failSwapOn": false, "fileCheckFrequency": "0s",
        "healthzBindAddress": "127.0.0.1", "healthzPort": 10248, "imageGCHighThresholdPercent": 100,
        "logging": {"flushFrequency": 0, "verbosity": 0,
            "options": {"json": {"infoBufferSize": "0"}, "text": {"infoBufferSize": "0"}}},
        "memorySwap": {}, "nodeStatusUpdateFrequency": "0s", "rotateCertificates": true,
        "staticPodPath": "/etc/kubernetes/manifests", "volumeStatsAggPeriod": "0s",
    });
    let config = with_file(file.clone(), &["--cluster-domain=other.local"]).unwrap();
    assert_eq!(config.client_ca, PathBuf::from("/etc/kubernetes/pki/ca.crt"));
    assert_eq!(config.manifests, Some(PathBuf::from("/etc/kubernetes/manifests")));
    assert_eq!((config.image_gc.high, config.rotate_certificates), (100, true));
    assert_eq!(config.cluster_domain, "other.local", "flags go before the file");
    for (field, value, words) in [
        (
            "cgroupDriver",
            serde_json::json!("systemd"),
            "cgroupDriver: \"systemd\" cannot be had, only cgroupfs",
        ),
        (
            "systemReserved",
            serde_json::json!({"cpu": "1"}),
            "systemReserved.cpu: this field is not known here",
        ),
    ] {
        let mut other = file.clone();
        other[field] = value;
        let refusal = format!("{:#}", with_file(other, &[]).unwrap_err());
        assert!(refusal.ends_with(words), "{refusal}");
    }
}
