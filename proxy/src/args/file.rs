//! The proxy's configuration file: upstream's `KubeProxyConfiguration`, as kubeadm and kind write it.

use machinery::config_file::{ConfigFile, Field};

/// What its fields stand for.
pub const CONFIGURATION: ConfigFile = ConfigFile {
    api_version: "kubeproxy.config.k8s.io/v1alpha1",
    kind: "KubeProxyConfiguration",
    fields: &[
        // Health and metrics have addresses of their own; of this one all that is used is its family.
        ("bindAddress", Field::Only("0.0.0.0")),
        ("bindAddressHardFail", Field::Only("false")),
        ("clientConnection.kubeconfig", Field::Flag("kubeconfig")),
        ("clusterCIDR", Field::Flag("cluster-cidr")),
        ("conntrack.tcpBeLiberal", Field::Only("false")),
        ("detectLocalMode", Field::Only("ClusterCIDR")),
        ("enableProfiling", Field::Only("false")),
        ("healthzBindAddress", Field::Flag("healthz-bind-address")),
        ("hostnameOverride", Field::Flag("hostname-override")),
        ("iptables.localhostNodePorts", Field::Only("true")),
        ("iptables.masqueradeAll", Field::Flag("masquerade-all")),
        ("iptables.masqueradeBit", Field::Only("14")),
        ("iptables.minSyncPeriod", Field::Flag("iptables-min-sync-period")),
        ("iptables.syncPeriod", Field::Flag("iptables-sync-period")),
        // What other modes would do.
        ("ipvs.strictARP", Field::Only("false")),
        ("logging.format", Field::Only("text")),
        ("logging.verbosity", Field::Flag("v")),
        ("metricsBindAddress", Field::Flag("metrics-bind-address")),
        ("mode", Field::Only("iptables")),
        ("winkernel.enableDSR", Field::Only("false")),
        ("winkernel.forwardHealthCheckVip", Field::Only("false")),
    ],
};
