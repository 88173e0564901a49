//! The kubelet's configuration file: upstream's `KubeletConfiguration`. Of those that kubeadm and kind write, the cgroup
//! driver has to be changed: cgroups are the kubelet's own work here, not systemd's.

use machinery::config_file::{ConfigFile, Field};
use serde_json::Value;

/// What its fields stand for.
pub const CONFIGURATION: ConfigFile = ConfigFile {
    api_version: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    fields: &[
        ("address", Field::Flag("address")),
        ("allowedUnsafeSysctls", Field::Flag("allowed-unsafe-sysctls")),
        ("authentication.anonymous.enabled", Field::Only("false")),
        ("authentication.webhook.cacheTTL", Field::Only("2m0s")),
        ("authentication.webhook.enabled", Field::Only("true")),
        ("authentication.x509.clientCAFile", Field::Flag("client-ca-file")),
        ("authorization.mode", Field::Only("Webhook")),
        ("authorization.webhook.cacheAuthorizedTTL", Field::Only("5m0s")),
        ("authorization.webhook.cacheUnauthorizedTTL", Field::Only("30s")),
        ("cgroupDriver", Field::Only("cgroupfs")),
        ("cgroupRoot", Field::Flag("cgroup-root")),
        ("cgroupsPerQOS", Field::Only("true")),
        ("clusterDNS", Field::Flag("cluster-dns")),
        ("clusterDomain", Field::Flag("cluster-domain")),
        ("containerLogMaxFiles", Field::Exactly("container-log-max-files")),
        ("containerLogMaxSize", Field::Flag("container-log-max-size")),
        ("containerRuntimeEndpoint", Field::Flag("container-runtime-endpoint")),
        ("cpuManagerPolicy", Field::Only("none")),
        ("enableControllerAttachDetach", Field::Only("true")),
        ("enableDebuggingHandlers", Field::Only("true")),
        ("enableServer", Field::Only("true")),
        ("enforceNodeAllocatable", Field::Only("pods")),
        ("evictionHard", Field::Written("eviction-hard", thresholds)),
        ("failSwapOn", Field::Only("false")),
        ("healthzBindAddress", Field::Flag("healthz-bind-address")),
        ("healthzPort", Field::Exactly("healthz-port")),
        ("imageGCHighThresholdPercent", Field::Exactly("image-gc-high-threshold")),
        ("imageGCLowThresholdPercent", Field::Exactly("image-gc-low-threshold")),
        ("logging.format", Field::Only("text")),
        ("logging.verbosity", Field::Flag("v")),
        ("maxPods", Field::Flag("max-pods")),
        ("memoryManagerPolicy", Field::Only("None")),
        ("podLogsDir", Field::Flag("pod-log-dir")),
        ("podPidsLimit", Field::Exactly("pod-max-pids")),
        ("port", Field::Flag("port")),
        ("providerID", Field::Flag("provider-id")),
        ("registerNode", Field::Only("true")),
        ("registerWithTaints", Field::Written("register-with-taints", taints)),
        ("resolvConf", Field::Exactly("resolv-conf")),
        ("rotateCertificates", Field::Flag("rotate-certificates")),
        ("serverTLSBootstrap", Field::Flag("rotate-server-certificates")),
        ("staticPodPath", Field::Flag("pod-manifest-path")),
        ("tlsCertFile", Field::Flag("tls-cert-file")),
        ("tlsPrivateKeyFile", Field::Flag("tls-private-key-file")),
        ("topologyManagerPolicy", Field::Only("none")),
    ],
};

/// `{memory.available: 100Mi}` as the flag has it.
fn thresholds(value: &Value) -> Option<String> {
    let all = value.as_object()?.iter().map(|(signal, least)| Some(format!("{signal}<{}", least.as_str()?)));
    Some(all.collect::<Option<Vec<_>>>()?.join(","))
}

/// `[{key: a, value: b, effect: NoSchedule}]` as the flag has it.
fn taints(value: &Value) -> Option<String> {
    let all = value.as_array()?.iter().map(|taint| {
        let part = |name: &str| taint.get(name).and_then(Value::as_str);
        let value = part("value").filter(|value| !value.is_empty()).map(|value| format!("={value}"));
        Some(format!("{}{}:{}", part("key")?, value.unwrap_or_default(), part("effect")?))
    });
    Some(all.collect::<Option<Vec<_>>>()?.join(","))
}
