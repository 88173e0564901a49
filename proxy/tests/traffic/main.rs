//! Rules in the real kernel: one node, pods, and a neighbour, each a network namespace.
#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "tests start tasks and programs of their own")]

#[path = "../fixture/mod.rs"]
mod fixture;
mod matrix;
mod net;
mod policies;
mod services;

/// Needs root; says so and skips without.
macro_rules! need_root {
    () => {
        if !machinery::testing::may_run_as_root() {
            return;
        }
    };
}
use need_root;
