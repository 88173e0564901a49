//! The kubelet: runs the pods of one node, over CRI.
//!
//! `daemon` puts everything together. `pods` starts a `worker` for each pod of the node; the worker
//! looks at the pod and its containers (`view`), asks `plan` for the next steps and carries them out
//! with `cri`, `images`, `volumes` and `cgroups`. `make` says what the runtime is asked for, `status`
//! what the API is told, `admission` which pods the node takes; like `plan` and `backoff` they are pure.
//! `probes` watches running containers, `streaming` answers logs, exec, attach and port-forward.
//! `node` keeps the Node object and its lease, `node_network` the routes to other nodes' pods. `cni`
//! is the pod-network plugin, a program of its own (`bin/cni.rs`), as is `bin/pause.rs`.
//! Begin with `plan`. Upstream: `cmd/kubelet`, `pkg/kubelet`.

pub mod admission;
pub mod args;
mod backend;
pub mod backoff;
pub mod cgroups;
pub mod cni;
pub mod cri;
mod daemon;
pub mod dns;
pub mod downward;
pub mod host;
pub mod images;
pub mod labels;
mod log_rotation;
pub mod make;
pub mod netlink;
pub mod node;
pub mod node_network;
pub mod objects;
pub mod plan;
pub mod pod;
mod pods;
pub mod probes;
mod stats;
pub mod status;
pub mod streaming;
pub mod view;
pub mod volumes;
pub mod worker;

pub use daemon::run;
