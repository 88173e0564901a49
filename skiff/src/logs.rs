//! `skiff logs`: the log of one daemon, as it is or as it grows.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::args::LogsArgs;
use crate::cluster::{Cluster, DEFAULT_NAME};
use crate::{daemons, supervisor};

/// How often a growing log is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// The log that a person means: `apiserver`, `node-1/kubelet`, and in a named
/// cluster also `node-1/kubelet` for `two-node-1/kubelet`.
fn find(cluster: &Cluster, wanted: &str) -> Result<PathBuf> {
    if wanted == daemons::SUPERVISOR {
        return Ok(supervisor::log_path(cluster));
    }
    let table = daemons::table(cluster);
    let long = match cluster.name.as_str() {
        DEFAULT_NAME => wanted.to_owned(),
        name => format!("{name}-{wanted}"),
    };
    match table.iter().find(|daemon| daemon.name == wanted || daemon.name == long) {
        Some(daemon) => Ok(daemon.log.clone()),
        None => {
            let names: Vec<&str> = table.iter().map(|daemon| daemon.name.as_str()).collect();
            bail!(
                "{wanted:?} is no daemon of {}: there are {}, {}",
                cluster.name,
                names.join(", "),
                daemons::SUPERVISOR
            )
        }
    }
}

fn copy(log: &mut File) -> Result<u64> {
    let mut out = std::io::stdout().lock();
    let copied = match std::io::copy(log, &mut out).and_then(|copied| out.flush().map(|()| copied)) {
        // Whoever read has enough, as in `skiff logs kubelet | head`.
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => other,
    };
    copied.context("cannot show the log")
}

fn follow(path: &Path, log: &mut File) -> Result<()> {
    loop {
        let at = log.stream_position().context("cannot read the log")?;
        let size = std::fs::metadata(path).with_context(|| format!("{} is gone", path.display()))?.len();
        if size < at {
            // The supervisor has cut it.
            log.seek(SeekFrom::Start(0)).context("cannot read the log")?;
        }
        if copy(log)? == 0 {
            std::thread::sleep(LOOK);
        }
    }
}

/// Shows the log that the flags say.
pub fn run(flags: &LogsArgs) -> Result<()> {
    let cluster = flags.cluster.existing()?;
    let path = find(&cluster, &flags.daemon)?;
    let mut log = match File::open(&path) {
        Ok(log) => log,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            bail!("{} has not been started yet", flags.daemon)
        }
        Err(e) => return Err(e).with_context(|| format!("cannot read {}", path.display())),
    };
    let older = path.with_extension("log.1");
    if let Ok(mut older) = File::open(older) {
        copy(&mut older)?;
    }
    copy(&mut log)?;
    if flags.follow { follow(&path, &mut log) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
