//! The kubelet: runs the pods of one node, over CRI.
//!
//! `daemon` puts everything together; `kubelet` is what its parts share. A map, in the order in which a pod
//! meets it (begin with `plan`; it and what is marked * do no I/O):
//!
//! - `sources` are where pods come from: the API, and a folder of manifests (`sources/manifest`*);
//! - `pod_workers` starts a `pod_worker` for each pod; `admission`* says whether the node takes it;
//! - before that, `security`* says whether the node enforces what the pod says about its isolation;
//! - the worker reads the pod (`pod_spec`*) and what the runtime has of it (`runtime_state`*), asks `plan`* for
//!   the next steps, and carries them out; `backoff`* says how long failures wait;
//! - for that, `runtime_config`* makes what the runtime is asked for, with `dns`*, `downward`*, `labels`*;
//!   `cri` asks it; `images`, `volumes` and `cgroups` prepare; `referenced_objects` gets what pods refer to;
//! - `probes` watches running containers; `pod_status`* says what the API is told;
//! - `node_status` keeps the Node and its lease; `node_limits` what all pods may take together; `node_network`
//!   the routes to other nodes' pods;
//! - `server` answers on port 10250, with `stats`; `log_rotation` keeps logs small, `eviction` ends pods that
//!   take more of the disk than they may.
//!
//! `cni` is the pod-network plugin, a program of its own (`bin/cni.rs`); `netlink` serves
//! both. Upstream: `cmd/kubelet`, `pkg/kubelet`.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests start tasks and programs of their own"))]

mod admission;
pub mod args;
mod backoff;
mod certificates;
mod cgroups;
pub mod cni;
mod cri;
mod daemon;
mod dns;
mod downward;
mod eviction;
mod images;
mod kubelet;
mod labels;
mod log_line;
mod log_rotation;
mod netlink;
mod node_limits;
pub mod node_network;
mod node_status;
mod plan;
mod pod_spec;
mod pod_status;
mod pod_worker;
mod pod_workers;
mod probes;
mod referenced_objects;
mod runtime_config;
mod runtime_state;
mod security;
mod server;
mod sources;
mod stats;
mod volumes;

pub use daemon::run;
