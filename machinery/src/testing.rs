//! What a test says that cannot run on this machine.

use std::io::Write as _;

/// In the environment: a test that cannot run fails. CI sets it, since nothing is missing there.
const ALL: &str = "SKIFF_TEST_ALL";

/// Says that a test is left out and why, past the capture of the test runner, so that nobody takes it
/// for passed.
///
/// # Panics
/// When all tests are demanded.
pub fn skip(reason: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    assert!(std::env::var_os(ALL).is_none(), "{test} cannot run: {reason}");
    // Without standard error there is nobody to tell.
    let _told = writeln!(std::io::stderr(), "SKIPPED: {test} ({reason})");
}

/// Whether the test may do what only root may; says so if not.
///
/// # Panics
/// As [`skip`].
pub fn may_run_as_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        skip("it needs root");
    }
    root
}
