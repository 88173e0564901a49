//! One suite for all stores, and what is special about each.
#![allow(clippy::unwrap_used)]

pub(crate) mod etcd;
mod file;
mod suite;
mod writers;
