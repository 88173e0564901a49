//! The error a CNI plugin prints instead of a result.
//!
//! Codes below 100 are the specification's, those from 100 on are ours. Whoever runs
//! the plugin shows `msg` and `details` to people (an event of the pod), so both are sentences.
//! Upstream: `containernetworking/cni` `pkg/types.Error`.

use serde::Serialize;

/// A failed CNI command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{msg}: {details}")]
pub struct CniError {
    /// The specification's or our own number.
    pub code: u32,
    /// What failed.
    pub msg: String,
    /// Why.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub details: String,
}

impl CniError {
    /// `cniVersion` of the configuration is one we do not speak.
    pub const INCOMPATIBLE_VERSION: u32 = 1;
    /// A required environment variable is missing or wrong.
    pub const INVALID_ENVIRONMENT: u32 = 4;
    /// Reading or writing failed.
    pub const IO: u32 = 5;
    /// The configuration cannot be decoded.
    pub const DECODING: u32 = 6;
    /// The configuration can be decoded and makes no sense.
    pub const INVALID_CONFIG: u32 = 7;
    /// The plugin cannot serve ADD now.
    pub const NOT_AVAILABLE: u32 = 50;
    /// No address of the range is free.
    pub const NO_ADDRESS: u32 = 100;
    /// The kernel refused a change of an interface, address or route.
    pub const NETLINK: u32 = 101;
    /// iptables refused the rules of a host port.
    pub const HOST_PORTS: u32 = 102;
    /// CHECK found the pod's network not as ADD left it.
    pub const CHECK_FAILED: u32 = 103;

    /// An error of the given code.
    pub fn new(code: u32, msg: impl Into<String>, details: impl ToString) -> CniError {
        CniError { code, msg: msg.into(), details: details.to_string() }
    }

    /// A failed file operation.
    pub fn io(what: &str, path: &std::path::Path, source: &std::io::Error) -> CniError {
        CniError::new(Self::IO, format!("cannot {what} {}", path.display()), source)
    }

    /// The same error, where taking away what had been made failed as well.
    #[must_use]
    pub fn with_leftovers(mut self, clean_up: &CniError) -> CniError {
        self.details = format!("{}; and what was made by then is left: {clean_up}", self.details);
        self
    }
}

#[cfg(test)]
mod tests;
