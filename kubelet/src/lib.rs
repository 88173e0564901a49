//! The kubelet daemon of Skiff.

pub mod cni;
pub mod iptables;
pub mod netlink;
pub mod node_network;
pub mod streaming;
