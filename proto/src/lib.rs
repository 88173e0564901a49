//! What daemons speak over gRPC: a module with messages, client and server for each protocol. Where these come from is
//! known here and nowhere else.

pub mod health;

/// The Container Runtime Interface, between kubelet and runtime (`runtime.v1`).
pub use k8s_cri::v1 as cri;
