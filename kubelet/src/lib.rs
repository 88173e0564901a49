//! The kubelet daemon of Skiff.

pub mod cni;
pub mod netlink;
