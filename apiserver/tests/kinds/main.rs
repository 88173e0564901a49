//! What single kinds do beyond being stored.

#![allow(clippy::unwrap_used, missing_docs)]

mod access;
mod budgets;
mod cluster;
#[path = "../harness/mod.rs"]
mod harness;
mod nodes;
mod pods;
mod roles;
