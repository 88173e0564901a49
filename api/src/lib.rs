//! What every daemon has to know of Kubernetes' API: quantities, durations, addresses, names, selectors, conditions,
//! schedules, bootstrap tokens, views of objects, `Status`.
//!
//! Nothing here does I/O or knows an async runtime. What objects of one kind must look like is in `kinds`.

pub mod account_token;
pub mod address;
pub mod bootstrap_token;
pub mod conditions;
pub mod duration;
pub mod field;
pub mod load_balancer;
mod message;
pub mod object;
pub mod pod;
pub mod quantity;
pub mod quota;
pub mod resource_names;
pub mod schedule;
pub mod selector;
pub mod status;
pub mod validation;
pub mod volume_binding;

pub use message::Message;

/// The Kubernetes version Skiff speaks, as `/version` and the kubelet report it.
pub const VERSION: &str = "v1.36.2+skiff";
