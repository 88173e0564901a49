//! What `/configz` tells of the kubelet's configuration, in the fields of upstream's `KubeletConfiguration`.

use machinery::tls::TlsSource;
use serde_json::{Value, json};

use crate::args::Config;
use crate::eviction::Thresholds;

/// The fields that this kubelet can be told, and how it lets callers in.
pub fn of(config: &Config) -> Value {
    let mut fields = json!({
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "enableServer": true,
        "address": config.listen.ip(),
        "port": config.listen.port(),
        "authentication": {
            "x509": {"clientCAFile": config.client_ca},
            "webhook": {"enabled": true, "cacheTTL": "2m0s"},
            "anonymous": {"enabled": false},
        },
        "authorization": {
            "mode": "Webhook",
            "webhook": {"cacheAuthorizedTTL": "5m0s", "cacheUnauthorizedTTL": "30s"},
        },
        "rotateCertificates": config.rotate_certificates,
        "serverTLSBootstrap": matches!(config.tls, TlsSource::Awaited(_)),
        "clusterDomain": config.cluster_domain,
        "clusterDNS": config.cluster_dns,
        "maxPods": config.max_pods,
        "podPidsLimit": config.pod_processes.map_or(json!(-1), |most| json!(most)),
        "healthzPort": config.healthz.map_or(0, |healthz| healthz.port()),
        "resolvConf": config.resolver,
        "cgroupRoot": config.cgroup_root,
        "containerRuntimeEndpoint": config.runtime,
        "podLogsDir": config.log_dir,
        "containerLogMaxFiles": config.logs.files,
        "imageGCHighThresholdPercent": config.image_gc.high,
        "imageGCLowThresholdPercent": config.image_gc.low,
    });
    if let Some(healthz) = config.healthz {
        fields["healthzBindAddress"] = json!(healthz.ip());
    }
    if !config.provider_id.is_empty() {
        fields["providerID"] = json!(config.provider_id);
    }
    if config.eviction != Thresholds::default() {
        fields["evictionHard"] = json!(config.eviction.told());
    }
    if let Some(manifests) = &config.manifests {
        fields["staticPodPath"] = json!(manifests);
    }
    if let Some(size) = config.logs.size {
        fields["containerLogMaxSize"] = json!(size.to_string());
    }
    if !config.taints.is_empty() {
        fields["registerWithTaints"] = json!(config.taints);
    }
    if let TlsSource::Files { cert, key } = &config.tls {
        fields["tlsCertFile"] = json!(cert);
        fields["tlsPrivateKeyFile"] = json!(key);
    }
    json!({"kubeletconfig": fields})
}
