//! Admission webhooks, against servers of the test's own behind TLS.

#![allow(clippy::disallowed_methods, reason = "tests start tasks and programs of their own")]
#![allow(clippy::unwrap_used, missing_docs)]

mod answers;
#[path = "../harness/mod.rs"]
mod harness;
mod hook;
mod reviews;
