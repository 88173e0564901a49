//! Admission webhooks, against servers of the test's own behind TLS.

#![allow(clippy::unwrap_used, missing_docs)]

mod answers;
#[path = "../harness/mod.rs"]
mod harness;
mod hook;
mod reviews;
