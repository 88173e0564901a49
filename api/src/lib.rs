//! The pure part of Skiff's API: what a Kubernetes object is and which rules it obeys.
//!
//! Nothing in this crate does I/O or knows an async runtime. The table of kinds ([`kinds`]) is the one
//! description that routing, discovery, OpenAPI, storage keys, printing and generic controllers read.

pub mod address;
pub mod apply;
pub mod cel;
pub mod conditions;
pub mod custom;
pub mod duration;
pub mod field;
pub mod json;
mod json_syntax;
pub mod kind;
pub mod kinds;
pub mod object;
pub mod patch;
mod pattern;
pub mod pod;
pub mod protobuf;
pub mod quantity;
pub mod schema;
pub mod selector;
pub mod status;
pub mod validation;

/// The Kubernetes version Skiff speaks, as `/version` and the kubelet report it.
pub const VERSION: &str = "v1.36.2+skiff";
