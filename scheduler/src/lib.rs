//! Skiff's scheduler: gives each pod that has no node one of those that fit best, in turn.
//!
//! One task owns the view of the cluster and the queue of waiting pods, and is fed by the caches. For each pod it filters
//! and scores the nodes ([`place::place`]) or finds out who has to go ([`preempt::preempt`]), both pure, and reserves what
//! was chosen ([`cluster::Cluster`]); claims and pods are bound in parallel. Upstream counterpart: kube-scheduler.

pub mod amounts;
pub mod args;
pub mod cluster;
mod daemon;
mod metrics;
pub mod needs;
pub mod node_view;
pub mod place;
pub mod plugins;
pub mod preempt;
pub mod queue;
mod requests;
pub mod storage;
#[cfg(test)]
#[path = "tests/testing.rs"]
mod testing;
mod verdict;

pub use args::{Args, Config};
pub use daemon::{run, start};

/// The profile's name, which pods ask for in `schedulerName` and events carry.
pub const NAME: &str = "default-scheduler";
