use serde_json::{Value, json};

use super::*;

/// What a proxy runs with that has such a file and such flags besides.
fn with_file(fields: &Value, flags: &[&str]) -> anyhow::Result<Config> {
    let mut all = json!({"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration"});
    all.as_object_mut().expect("it is an object").extend(fields.as_object().expect("so are they").clone());
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), all.to_string())?;
    let named = format!("--config={}", file.path().display());
    let given = ["proxy", &named].into_iter().chain(flags.iter().copied()).map(Into::into);
    Args::try_parse_from(file::CONFIGURATION.arguments(given)?)?.config()
}

#[test]
fn a_file_of_kubeadm_is_understood_but_for_what_is_not_done_here() {
    let mut fields = json!({
        "bindAddress": "0.0.0.0", "bindAddressHardFail": false, "clusterCIDR": "10.244.0.0/16",
        "clientConnection": {"acceptContentTypes": "", "burst": 0, "contentType": "",
            "kubeconfig": "/var/lib/kube-proxy/kubeconfig.conf", "qps": 0},
        "configSyncPeriod": "0s", "conntrack": {"maxPerCore": null, "tcpBeLiberal": false, "udpTimeout": "0s"},
        "detectLocal": {"bridgeInterface": "", "interfaceNamePrefix": ""}, "detectLocalMode": "",
        "enableProfiling": false, "healthzBindAddress": "", "hostnameOverride": "",
        "iptables": {"localhostNodePorts": null, "masqueradeAll": false, "masqueradeBit": null,
            "minSyncPeriod": "1s", "syncPeriod": "0s"},
        "ipvs": {"excludeCIDRs": null, "minSyncPeriod": "0s", "scheduler": "", "strictARP": false},
        "logging": {"flushFrequency": 0, "options": {"json": {"infoBufferSize": "0"}}, "verbosity": 0},
        "metricsBindAddress": "", "mode": "iptables", "nodePortAddresses": null, "oomScoreAdj": null,
        "portRange": "", "winkernel": {"enableDSR": false, "forwardHealthCheckVip": false, "networkName": ""},
    });
    let config = with_file(&fields, &["--hostname-override=node-1"]).expect("it is understood");
    assert_eq!(config.kubeconfig, PathBuf::from("/var/lib/kube-proxy/kubeconfig.conf"));
    assert_eq!(config.rules.cluster_cidr.map(|range| range.to_string()).as_deref(), Some("10.244.0.0/16"));
    assert_eq!((config.rules.node.as_str(), config.min_sync_period), ("node-1", Duration::from_secs(1)));
    assert_eq!(config.sync_period, Duration::from_secs(30));
    let config = with_file(&fields, &["--iptables-min-sync-period=10ms"]).expect("flags go before the file");
    assert_eq!(config.min_sync_period, Duration::from_millis(10));
    fields["metricsBindAddress"] = json!("0.0.0.0");
    let addresses = with_file(&fields, &["--healthz-bind-address=127.0.0.1:7"]).expect("both are understood");
    assert_eq!(addresses.metrics.to_string(), "0.0.0.0:10249");
    assert_eq!(addresses.healthz.to_string(), "127.0.0.1:7");
    fields["mode"] = json!("ipvs");
    let refusal = format!("{:#}", with_file(&fields, &[]).expect_err("there is one mode"));
    assert!(refusal.ends_with("mode: \"ipvs\" cannot be had, only iptables"), "{refusal}");
}

#[test]
fn a_proxy_looks_now_and_then() {
    let refusal = with_file(&json!({}), &["--kubeconfig=k", "--iptables-sync-period=0s"]);
    assert_eq!(refusal.expect_err("never is too late").to_string(), "--iptables-sync-period must not be 0");
}
