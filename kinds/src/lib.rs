//! What Kubernetes' kinds are and which rules their objects obey: names, defaults, validation, schemas, patches,
//! apply, protobuf, printing.
//!
//! Pure: no I/O, no clock. The table of kinds ([`builtin::all`]) is the one description that routing, discovery,
//! OpenAPI, storage keys, printing and generic controllers read; only the API server does.

pub mod apply;
pub mod builtin;
pub mod custom;
pub mod json;
mod json_syntax;
pub mod kind;
pub mod limits;
pub mod patch;
pub mod protobuf;
pub mod schema;
