//! Calls of the iptables programs.
//!
//! Every call waits for the lock that other users of iptables hold, and every failure carries
//! the program's own words. Upstream: `pkg/util/iptables`.

use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::ruleset::{Observed, Table, observe};

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
    #[error("{program} failed: {said}")]
    Refused {
        /// Its name.
        program: &'static str,
        /// What it printed.
        said: String,
    },
}

async fn run(program: &'static str, args: &[&str], input: &str) -> Result<String, IptablesError> {
    let failed = |source| IptablesError::Run { program, source };
    let mut child = Command::new(program)
        .args(args)
        .stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that stops reading says why on stderr.
        let written = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        if let Err(error) = written
            && error.kind() != std::io::ErrorKind::BrokenPipe
        {
            return Err(failed(error));
        }
    }
    let output = child.wait_with_output().await.map_err(failed)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(IptablesError::Refused { program, said });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What the kernel has of ours.
pub async fn save() -> Result<Observed, IptablesError> {
    run("iptables-save", &[], "").await.map(|saved| observe(&saved))
}

/// Applies the text of a restore, leaving what it does not name alone.
pub async fn restore(text: &str) -> Result<(), IptablesError> {
    run("iptables-restore", &["-w", "5", "--noflush"], text).await.map(drop)
}

/// Is the canary still in every table? When not, someone has flushed the rules.
pub async fn canary_lives() -> Result<bool, IptablesError> {
    for table in Table::ALL {
        let listed = run("iptables", &["-w", "5", "-t", table.name(), "-S", "KUBE-PROXY-CANARY"], "").await;
        match listed {
            Ok(_) => {}
            Err(IptablesError::Refused { .. }) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
