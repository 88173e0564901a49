//! Skiff's scheduler: gives each pod that has no node one of the nodes that fit, in turn.
//!
//! One task owns the view of the cluster and the queue of waiting pods; it is fed by the
//! caches, decides with the pure [`place::place`], and binds in parallel. Upstream
//! counterpart: kube-scheduler.

pub mod amounts;
pub mod args;
pub mod cluster;
mod daemon;
pub mod filters;
mod metrics;
pub mod place;
pub mod queue;
mod verdict;

pub use args::{Args, Config};
pub use daemon::{run, start};

/// The profile's name, which pods ask for in `schedulerName` and events carry.
pub const NAME: &str = "default-scheduler";
