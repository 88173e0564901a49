//! Calls of the iptables programs for the few rules that are the kubelet's and the CNI plugin's.
//!
//! Chains are ours and replaced whole; into the built-in chains goes one jump each. Calls block
//! and wait for the lock of other users. Upstream: `pkg/util/iptables`.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

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
            .output()
            .map_err(named("iptables"))?;
        if !is_there(&found)? {
            missing.push(*jump);
        }
    }
    Ok(missing)
}

/// What the answer to a check says: 1 that the rule is not there, 2 that not even the chain it jumps to is.
/// All else is an error: that others hold the lock, say.
fn is_there(answer: &Output) -> std::io::Result<bool> {
    match answer.status.code() {
        Some(0) => Ok(true),
        Some(1 | 2) => Ok(false),
        _ => {
            let said = String::from_utf8_lossy(&answer.stderr);
            Err(std::io::Error::other(format!("iptables: {}: {}", answer.status, said.trim())))
        }
    }
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

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    use super::*;

    #[test]
    fn not_every_failure_means_missing() {
        let answer = |status| {
            let status = ExitStatus::from_raw(status);
            is_there(&Output { status, stdout: Vec::new(), stderr: b"xtables lock\n".to_vec() })
        };
        assert!(matches!(answer(0), Ok(true)));
        assert!(matches!(answer(1 << 8), Ok(false)));
        assert!(matches!(answer(2 << 8), Ok(false)), "before our chains are made");
        let error = answer(4 << 8).expect_err("the lock is held by another");
        assert_eq!(error.to_string(), "iptables: exit status: 4: xtables lock");
        assert!(answer(9).is_err(), "killed");
    }
}
