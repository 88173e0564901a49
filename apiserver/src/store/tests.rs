//! One suite for all stores: what the rest of the server relies on.
#![allow(clippy::unwrap_used)]

mod suite;
