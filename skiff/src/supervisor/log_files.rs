//! The daemons' logs: files they append to themselves, so that they need nobody
//! to run; one that grows too big is cut, its older part kept beside it.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::{daemons, files};

/// A log of this size is cut.
const BIGGEST: u64 = 16 << 20;
/// How often the logs are looked at.
const LOOK: Duration = Duration::from_secs(15);

/// Opens a log to append to.
pub fn open(path: &Path) -> Result<File> {
    if let Some(folder) = path.parent() {
        files::make_dir(folder)?;
    }
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))
}

/// Moves a log's content aside when it is too big. The file itself stays, since its daemon holds it open.
fn cut(path: &Path, biggest: u64) -> Result<()> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() > biggest => {}
        Ok(_) => return Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e).with_context(|| format!("cannot look at {}", path.display())),
    }
    let older = path.with_extension("log.1");
    fs::copy(path, &older).with_context(|| format!("cannot write {}", older.display()))?;
    let file = OpenOptions::new().write(true).open(path);
    file.and_then(|file| file.set_len(0)).with_context(|| format!("cannot cut {}", path.display()))
}

/// Keeps all logs of the cluster within their bound.
pub async fn bound(cluster: Cluster, stop: CancellationToken) -> Result<()> {
    let mut logs: Vec<PathBuf> = daemons::table(&cluster).into_iter().map(|daemon| daemon.log).collect();
    logs.push(super::log_path(&cluster));
    while !stop.is_cancelled() {
        for log in &logs {
            if let Err(e) = cut(log, BIGGEST) {
                tracing::warn!(error = format!("{e:#}"), "A log stays too big");
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
