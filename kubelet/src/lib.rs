//! The kubelet daemon of Skiff.

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
pub mod iptables;
pub mod labels;
pub mod make;
pub mod netlink;
pub mod node;
pub mod node_network;
pub mod objects;
pub mod plan;
pub mod pod;
mod pods;
pub mod probes;
pub mod status;
pub mod streaming;
pub mod view;
pub mod volumes;
pub mod worker;

pub use daemon::run;
