//! Calls of the iptables programs for the few rules that are the kubelet's and the CNI plugin's.
//!
//! Chains are ours and replaced whole; into the built-in chains goes one jump each. Calls block
//! and wait for the lock of other users. Upstream: `pkg/util/iptables`.

use std::io::Write as _;
use std::process::{Command, Stdio};

/// A jump from a built-in chain into one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jump {
    /// `nat` or `filter`.
    pub table: &'static str,
    /// The built-in chain.
    pub from: &'static str,
    /// Matches and target.
    pub rule: &'static str,
}

/// Those of the jumps that are not there.
pub fn missing(jumps: &[Jump]) -> std::io::Result<Vec<Jump>> {
    let mut missing = Vec::new();
    for jump in jumps {
        let found = Command::new("iptables")
            .args(["-w", "5", "-t", jump.table, "-C", jump.from])
            .args(jump.rule.split(' '))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .map_err(named("iptables"))?;
        if !found.success() {
            missing.push(*jump);
        }
    }
    Ok(missing)
}

/// Applies the text of a restore, leaving what it does not name alone.
pub fn restore(text: &str) -> std::io::Result<()> {
    let program = "iptables-restore";
    let mut child = Command::new(program)
        .args(["-w", "5", "--noflush"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(named(program))?;
    // A program that stops reading says why on stderr.
    let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().map_err(named(program))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(std::io::Error::other(format!("{program}: {}", said.trim())));
    }
    written.map_err(named(program))
}

fn named(program: &'static str) -> impl Fn(std::io::Error) -> std::io::Error {
    move |error| std::io::Error::new(error.kind(), format!("{program}: {error}"))
}
