//! One suite for all stores, and what is special about each.
#![allow(clippy::unwrap_used)]

pub mod etcd;
mod file;
pub mod suite;
