//! `skiff logs`: the log of one daemon, as it is or as it grows.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::args::LogsArgs;
use crate::cluster::{Cluster, DEFAULT_NAME};
use crate::{daemons, static_pods, supervisor};

/// How often a growing log is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// The log that a person means: `apiserver`, `node-1/kubelet`, and in a named
/// cluster also `node-1/kubelet` for `two-node-1/kubelet`; and whether a pod's runtime writes it.
fn find(cluster: &Cluster, wanted: &str) -> Result<(PathBuf, bool)> {
    if wanted == daemons::SUPERVISOR {
        return Ok((supervisor::log_path(cluster), false));
    }
    let table = daemons::table(cluster);
    let long = match cluster.name.as_str() {
        DEFAULT_NAME => wanted.to_owned(),
        name => format!("{name}-{wanted}"),
    };
    // As Kubernetes calls the programs, and as their pods are called.
    let plain = wanted.strip_prefix("kube-").unwrap_or(wanted);
    let plain = plain.strip_suffix(&format!("-{}", cluster.node(0).name)).unwrap_or(plain);
    match table.iter().find(|daemon| [wanted, &long, plain].contains(&daemon.name.as_str())) {
        Some(daemon) => {
            let in_pod = static_pods::log(cluster, daemon);
            Ok((in_pod.unwrap_or_else(|| daemon.log.clone()), daemon.pod.is_some()))
        }
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

/// Shows the rest of a log; a runtime puts time, stream and a mark before each line, which are left out.
fn copy(log: &mut File, in_pod: bool) -> Result<usize> {
    let (mut text, mut out) = (Vec::new(), std::io::stdout().lock());
    let read = log.read_to_end(&mut text).context("cannot read the log")?;
    let own = |line: &[u8]| line.splitn(4, |byte| *byte == b' ').last().unwrap_or_default().to_vec();
    if in_pod {
        text = text.split_inclusive(|byte| *byte == b'\n').flat_map(own).collect();
    }
    match out.write_all(&text).and_then(|()| out.flush()) {
        // Whoever read has enough, as in `skiff logs kubelet | head`.
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        shown => shown.map(|()| read).context("cannot show the log"),
    }
}

fn follow(path: &Path, log: &mut File, in_pod: bool) -> Result<()> {
    loop {
        let at = log.stream_position().context("cannot read the log")?;
        let size = std::fs::metadata(path).with_context(|| format!("{} is gone", path.display()))?.len();
        if size < at {
            // The supervisor has cut it.
            log.seek(SeekFrom::Start(0)).context("cannot read the log")?;
        }
        if copy(log, in_pod)? == 0 {
            std::thread::sleep(LOOK);
        }
    }
}

/// Shows the log that the flags say.
pub fn run(flags: &LogsArgs) -> Result<()> {
    let cluster = flags.cluster.existing()?;
    let (path, in_pod) = find(&cluster, &flags.daemon)?;
    let mut log = match File::open(&path) {
        Ok(log) => log,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            bail!("{} has not been started yet", flags.daemon)
        }
        Err(e) => return Err(e).with_context(|| format!("cannot read {}", path.display())),
    };
    let older = path.with_extension("log.1");
    if let Ok(mut older) = File::open(older) {
        copy(&mut older, in_pod)?;
    }
    copy(&mut log, in_pod)?;
    if flags.follow { follow(&path, &mut log, in_pod) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
