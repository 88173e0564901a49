//! The labels and annotations by which sandboxes and containers are recognised, also after the kubelet was
//! restarted. Their names are upstream's (`kubelet/types/labels.go`): tools such as crictl show them.

/// Name of the container in the pod's spec.
pub const CONTAINER_NAME: &str = "io.kubernetes.container.name";
/// Name of the pod.
pub const POD_NAME: &str = "io.kubernetes.pod.name";
/// Namespace of the pod.
pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
/// uid of the pod.
pub const POD_UID: &str = "io.kubernetes.pod.uid";

/// Hash of what in a container's spec demands a new container when it changes.
pub const CONTAINER_HASH: &str = "io.kubernetes.container.hash";
/// How often the container had been started again when this one was made.
pub const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
/// Where the program leaves its last words.
pub const TERMINATION_MESSAGE_PATH: &str = "io.kubernetes.container.terminationMessagePath";
/// Whether the end of the log stands in for missing last words.
pub const TERMINATION_MESSAGE_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
/// Seconds between asking to stop and killing.
pub const GRACE_PERIOD: &str = "io.kubernetes.pod.terminationGracePeriod";
/// The ports of the container, as JSON.
pub const CONTAINER_PORTS: &str = "io.kubernetes.container.ports";

/// Where a pod's manifest came from (`api`, `file`).
pub const CONFIG_SOURCE: &str = "kubernetes.io/config.source";
/// The hash of a static pod's manifest.
pub const CONFIG_HASH: &str = "kubernetes.io/config.hash";
/// When the kubelet first saw a manifest.
pub const CONFIG_SEEN: &str = "kubernetes.io/config.seen";
