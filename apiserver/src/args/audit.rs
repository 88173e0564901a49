//! Flags about the audit log.

use std::{num::NonZeroUsize, path::PathBuf};

use crate::audit::Policy;

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogMode {
    /// Apart from requests, which never wait; what is too much is lost, and counted.
    Batch,
    /// By requests themselves.
    Blocking,
    /// So, and a request whose arrival cannot be written is refused.
    BlockingStrict,
}

#[derive(Debug, clap::Args)]
pub(super) struct AuditArgs {
    /// File (audit.k8s.io/v1 Policy) that says how much of which requests is told in the audit log.
    #[arg(long)]
    audit_policy_file: Option<PathBuf>,
    /// Where and how it is written.
    #[command(flatten)]
    log: LogArgs,
}

/// Those that say where and how it is written.
#[derive(Debug, Clone, clap::Args)]
pub struct LogArgs {
    /// Where the audit log is written; '-' means standard output.
    #[arg(long = "audit-log-path")]
    pub path: Option<PathBuf>,
    /// How many days old audit log files are kept; 0 for any number.
    #[arg(long = "audit-log-maxage", default_value_t = 366)]
    pub days: u32,
    /// How many old audit log files are kept; 0 for any number.
    #[arg(long = "audit-log-maxbackup", default_value_t = 100)]
    pub files: u32,
    /// How many megabytes an audit log file holds before it is put aside; 0 for any number.
    #[arg(long = "audit-log-maxsize", default_value_t = 100)]
    pub megabytes: u32,
    /// Compress the files that were put aside with gzip.
    #[arg(long = "audit-log-compress", action = clap::ArgAction::Set, default_value_t = false, num_args = 0..=1, default_missing_value = "true")]
    pub compress: bool,
    /// How events of the audit log are written.
    #[arg(long = "audit-log-mode", value_enum, default_value = "batch")]
    pub mode: LogMode,
    /// How many events wait at most in batch mode.
    #[arg(long = "audit-log-batch-buffer-size", default_value = "10000")]
    pub buffer: NonZeroUsize,
}

/// What is written, and where.
#[derive(Debug, Clone)]
pub struct AuditConfig {
    /// What.
    pub policy: Policy,
    /// Where, and how.
    pub log: LogArgs,
}

impl AuditArgs {
    /// What they ask for, if that is an audit log.
    pub(super) fn into_config(self) -> anyhow::Result<Option<AuditConfig>> {
        let policy = self.audit_policy_file.as_deref().map(Policy::load).transpose()?;
        if policy.is_some() && self.log.path.is_none() {
            tracing::warn!("An audit policy without --audit-log-path: no events will be recorded");
        }
        if policy.is_none() && self.log.path.is_some() {
            tracing::info!("No audit policy file provided, no events will be recorded for log backend");
        }
        let log = Some(self.log).filter(|log| log.path.is_some());
        Ok(policy.zip(log).map(|(policy, log)| AuditConfig { policy, log }))
    }
}
