//! What end-to-end tests are made of: clusters, a registry, images, waiting.
//!
//! Every cluster has a name and a root folder of its own, never talks to anything
//! beyond this machine, and is taken down when its value goes out of scope, also
//! when a test panics.

// A test that cannot go on says why and ends; that is what these functions are for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

mod cluster;
mod http;
mod images;
mod registry;
mod wait;

pub use cluster::{Cluster, Kubectl, bin_dir};
pub use http::{Answer, get, request};
pub use images::{busybox, curl, http_go, redis};
pub use registry::Registry;
pub use wait::{eventually, holds_for};
