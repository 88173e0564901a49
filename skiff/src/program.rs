//! Programs that are started: the daemons of a cluster, and the tools that do what this program does not do itself.

use std::ffi::OsStr;
use std::process::Command;

/// A program to be started.
#[expect(clippy::disallowed_methods, reason = "this is where everybody else gets theirs")]
pub fn command(program: impl AsRef<OsStr>) -> Command {
    Command::new(program)
}
