//! Calls of the iptables programs, and of `nft`.
//!
//! Chains of ours are replaced whole by a restore; into the built-in chains go single jumps. Every call waits
//! for the lock that other users of iptables hold, every failure carries the program's own words, and calls
//! block. Upstream: `pkg/util/iptables`.

#![expect(clippy::disallowed_methods, reason = "this is where iptables and nft are run")]

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use crate::netfilter::Netfilter;

/// How long to wait for the lock of others, in seconds.
const PATIENCE: &str = "5";

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum IptablesError {
    /// The program could not be run.
    #[error("cannot run {program}")]
    Run {
        /// Its name.
        program: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The program refused.
    #[error("{program}: {status}: {said}")]
    Refused {
        /// Its name.
        program: &'static str,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it printed.
        said: String,
    },
}

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
pub fn missing(jumps: &[Jump]) -> Result<Vec<Jump>, IptablesError> {
    let mut missing = Vec::new();
    for jump in jumps {
        let rule = jump.rule.split(' ');
        let check: Vec<&str> = ["-t", jump.table, "-C", jump.from].into_iter().chain(rule).collect();
        if !has(&check)? {
            missing.push(*jump);
        }
    }
    Ok(missing)
}

/// Whether the rule of a check (`-C`) or the chain of a listing (`-S`) is there.
pub fn has(arguments: &[&str]) -> Result<bool, IptablesError> {
    is_there("iptables", &call("iptables", arguments, "")?)
}

/// Carries out one command.
pub fn command(arguments: &[&str]) -> Result<(), IptablesError> {
    call("iptables", arguments, "").and_then(|output| succeeded("iptables", output)).map(drop)
}

/// Has `nft` carry out a command, or the text that it is given.
pub fn nft(arguments: &[&str], text: &str) -> Result<(), IptablesError> {
    run("nft", arguments, text).and_then(|output| succeeded("nft", output)).map(drop)
}

/// Applies the text of a restore, leaving what it does not name alone.
pub fn restore(text: &str) -> Result<(), IptablesError> {
    let program = "iptables-restore";
    call(program, &["--noflush"], text).and_then(|output| succeeded(program, output)).map(drop)
}

/// All rules, as text.
pub fn save() -> Result<String, IptablesError> {
    let program = "iptables-save";
    let output = Command::new(program).stdin(Stdio::null()).output();
    let output = output.map_err(|source| IptablesError::Run { program, source })?;
    succeeded(program, output).map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What the answer to a check says: 1 that the rule is not there, 2 that not even the chain it jumps to is.
/// All else is an error: that others hold the lock, say.
fn is_there(program: &'static str, answer: &Output) -> Result<bool, IptablesError> {
    match answer.status.code() {
        Some(0) => Ok(true),
        Some(1 | 2) => Ok(false),
        _ => Err(refused(program, answer)),
    }
}

fn succeeded(program: &'static str, output: Output) -> Result<Output, IptablesError> {
    if output.status.success() { Ok(output) } else { Err(refused(program, &output)) }
}

fn refused(program: &'static str, output: &Output) -> IptablesError {
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    IptablesError::Refused { program, status: output.status, said }
}

fn call(program: &'static str, arguments: &[&str], input: &str) -> Result<Output, IptablesError> {
    run(program, &[&["-w", PATIENCE], arguments].concat(), input)
}

fn run(program: &'static str, arguments: &[&str], input: &str) -> Result<Output, IptablesError> {
    let failed = |source| IptablesError::Run { program, source };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    // A program that stops reading says why on stderr. All it prints meanwhile fits into a pipe.
    let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().map_err(failed)?;
    match written {
        Err(error) if output.status.success() => Err(failed(error)),
        _ => Ok(output),
    }
}

/// Tells whether anybody has changed any rule since the last look, without running a program.
///
/// The kernel counts the changes of its nftables, on which iptables builds today. Where iptables is of the
/// older kind that number never changes, and every look says that there may be news.
#[derive(Debug, Default)]
pub struct Watch {
    generation: Option<u32>,
    counted: Option<bool>,
}

impl Watch {
    /// Whether rules may have changed since the last time this said so. Read before looking at the rules, so
    /// that a change in between is told next time.
    pub fn changed(&mut self) -> bool {
        if !*self.counted.get_or_insert_with(uses_nftables) {
            return true;
        }
        let now = Netfilter::open().and_then(|mut netfilter| netfilter.generation());
        match now {
            Ok(generation) => self.generation.replace(generation) != Some(generation),
            Err(error) => {
                tracing::debug!(%error, "Cannot ask whether rules have changed");
                true
            }
        }
    }
}

/// Whether iptables keeps its rules in the kernel's nftables.
fn uses_nftables() -> bool {
    let version = Command::new("iptables").arg("--version").stdin(Stdio::null()).output();
    version.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("nf_tables"))
}

#[cfg(test)]
mod tests;
