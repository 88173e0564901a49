//! The Corefile: which server answers for which zones with what. Read completely, each setting checked, before
//! anything of it is used; what is not known is refused by name. Upstream counterpart: CoreDNS' `setup` functions.

mod read;
pub mod syntax;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use hickory_proto::rr::Name;

use crate::cache::Settings as CacheSettings;
use crate::forward::Settings as ForwardSettings;
use crate::kubernetes::Settings as KubernetesSettings;
use crate::rewrite::Rewrite;
use crate::template::Template;

/// What is wrong with a Corefile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Corefile:{line} - Error during parsing: {message}")]
pub struct Error {
    line: usize,
    message: String,
}

impl Error {
    /// An error in a line, counted from 1.
    pub fn at(line: usize, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }
}

/// What a directive leaves to those that come after it: questions in these zones that it has no answer to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fallthrough(pub Vec<Name>);

impl Fallthrough {
    /// Whether a question about this name goes on.
    pub fn covers(&self, name: &Name) -> bool {
        self.0.iter().any(|zone| zone.zone_of(name))
    }
}

/// The hosts file, and lines like in one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostsSettings {
    /// The file.
    pub file: PathBuf,
    /// How often to look whether the file has changed; never if zero.
    pub reload: Duration,
    /// Lines of the Corefile that add to the file: an address and its names.
    pub lines: Vec<Vec<String>>,
    /// Zones that it answers for.
    pub zones: Vec<Name>,
    /// Seconds that answers live.
    pub ttl: u32,
    /// Whether addresses are answered with names.
    pub reverse: bool,
    /// What goes on.
    pub fallthrough: Fallthrough,
}

/// Which answers are logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Classes {
    /// Answers with records.
    pub success: bool,
    /// Names and types that do not exist.
    pub denial: bool,
    /// Everything else.
    pub error: bool,
}

/// What is said about some zones at one port.
#[derive(Debug, Default)]
pub struct Server {
    /// The zones, longest match first among servers.
    pub zones: Vec<Name>,
    /// The port.
    pub port: u16,
    /// Failures are logged.
    pub errors: bool,
    /// Questions below these names are logged.
    pub log: Vec<(Name, Classes)>,
    /// Addresses of one name change places with each answer.
    pub loadbalance: bool,
    /// Forwarding in circles is looked for at start.
    pub detect_loops: bool,
    /// Where `/health` is asked for, and how long to go on after being told to stop.
    pub health: Option<(SocketAddr, Duration)>,
    /// Where `/ready` is asked for.
    pub ready: Option<SocketAddr>,
    /// Where metrics are read.
    pub metrics: Option<SocketAddr>,
    /// How often to look for a changed Corefile.
    pub reload: Option<Duration>,
    /// Changes of questions, in order.
    pub rewrites: Vec<Rewrite>,
    /// Answers made from patterns.
    pub templates: Vec<Template>,
    /// The hosts file.
    pub hosts: Option<HostsSettings>,
    /// The cluster's names.
    pub kubernetes: Option<KubernetesSettings>,
    /// Who is asked about other names.
    pub forwards: Vec<ForwardSettings>,
    /// How forwarded answers are kept.
    pub cache: Option<CacheSettings>,
}

/// Reads a Corefile.
///
/// # Errors
/// The first thing that is wrong with it, with its line.
pub fn parse(text: &str) -> Result<Vec<Server>, Error> {
    let servers: Vec<Server> = syntax::parse(text)?.iter().map(read::server).collect::<Result<_, _>>()?;
    if servers.is_empty() {
        return Err(Error::at(1, "no server block"));
    }
    let mut seen = std::collections::HashSet::new();
    for server in &servers {
        for zone in &server.zones {
            if !seen.insert((zone, server.port)) {
                return Err(Error::at(
                    1,
                    format!("cannot serve dns://{zone}:{} - it is already defined", server.port),
                ));
            }
        }
    }
    Ok(servers)
}

#[cfg(test)]
mod tests;
