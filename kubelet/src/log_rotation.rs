//! Keeps the logs of running containers small: a log that has grown too large gets another name, the runtime
//! begins a new one, older ones are compressed, the oldest go. Names and order of steps are upstream's
//! (`pkg/kubelet/logs`), which log shippers know. What to do is planned by [`plan`], which is pure.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use k8s_openapi::api::core::v1::Pod;
use machinery::beneath::{self, Below, Handle};

use crate::cri::Runtime;
use crate::runtime_config::names;

/// How often logs are looked at.
pub const LOOK: Duration = Duration::from_secs(10);
const COMPRESSED: &str = ".gz";
const UNFINISHED: &str = ".tmp";

/// How large logs may grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in the file that is written to; none is no limit.
    pub size: Option<u64>,
    /// Files of one container, the one that is written to included.
    pub files: usize,
}

/// What to do with the former logs of a container before its present one joins them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Plan {
    remove: Vec<String>,
    compress: Vec<String>,
}

/// Plans for the names of former logs, in any order.
fn plan(mut former: Vec<String>, files: usize) -> Plan {
    former.sort();
    let unused = |name: &String| {
        name.ends_with(UNFINISHED) || former.binary_search(&format!("{name}{COMPRESSED}")).is_ok()
    };
    let (mut remove, mut used): (Vec<String>, Vec<String>) = former.iter().cloned().partition(unused);
    // The present log and the one it becomes take two of the places.
    let excess = used.len().saturating_sub(files.saturating_sub(2));
    remove.extend(used.drain(..excess));
    let compress = used.into_iter().filter(|name| !name.ends_with(COMPRESSED)).collect();
    Plan { remove, compress }
}

/// The names beside a log that begin with its own.
pub fn former(dir: &Handle, log: &OsStr) -> io::Result<Vec<String>> {
    let prefix = format!("{}.", log.display());
    // What the runtime names is text.
    let names = dir.names()?.filter_map(|name| name.map(|name| name.into_string().ok()).transpose());
    names.filter(|name| name.as_ref().map_or(true, |name| name.starts_with(&prefix))).collect()
}

/// Removes a log and all that it was before.
pub fn remove(log: &Below) -> io::Result<()> {
    let (dir, name) = match log.parent() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        parent => parent?,
    };
    for former in former(&dir, &name)? {
        dir.unlink(former)?;
    }
    dir.unlink(name)
}

/// Removes the folder of a pod's logs from that of all.
pub async fn remove_folder(root: &Path, name: String) -> io::Result<()> {
    let root = root.to_owned();
    beneath::blocking(move || Handle::open(&root)?.remove(name)).await
}

/// The running containers of pods, by their id in the runtime, with the log that is written to.
fn logs<'a>(root: &'a Path, pods: &'a [Arc<Pod>]) -> impl Iterator<Item = (String, Below)> + 'a {
    pods.iter().flat_map(move |pod| {
        let lists = pod.status.iter().flat_map(|s| [&s.init_container_statuses, &s.container_statuses]);
        let running =
            lists.flatten().flatten().filter(|c| c.state.as_ref().is_some_and(|s| s.running.is_some()));
        running.filter_map(move |status| {
            let (_, id) = status.container_id.as_deref()?.split_once("://")?;
            let attempt = u32::try_from(status.restart_count).ok()?;
            let log = names::log_dir(root, pod).join(names::log_path(&status.name, attempt));
            Some((id.to_owned(), Below::new(root, &log).ok()?))
        })
    })
}

/// Looks at all logs, and rotates those that are too large.
pub async fn look(runtime: &Runtime, root: &Path, pods: &[Arc<Pod>], limits: Limits) {
    let Some(size) = limits.size else { return };
    for (id, log) in logs(root, pods) {
        if let Err(error) = rotate(runtime, &id, &log, size, limits.files).await {
            tracing::warn!(%log, %error, "Cannot rotate a log");
        }
    }
}

async fn rotate(runtime: &Runtime, id: &str, log: &Below, size: u64, files: usize) -> io::Result<()> {
    let at = log.clone();
    let Some((dir, name, becomes)) = beneath::blocking(move || put_aside(&at, size, files)).await? else {
        return Ok(());
    };
    if let Err(error) = runtime.reopen_log(id).await {
        // The runtime goes on writing to the file, whatever it is called.
        beneath::blocking(move || dir.rename(becomes, name)).await?;
        return Err(io::Error::other(error));
    }
    Ok(())
}

/// Gives a log that has grown too large another name, and makes room for it among the former ones; answers where
/// it lies, what it was called and what it is called now.
fn put_aside(log: &Below, size: u64, files: usize) -> io::Result<Option<(Handle, OsString, OsString)>> {
    match log.open() {
        Ok(file) if file.metadata()?.len() >= size => {}
        // The runtime may just be making it.
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => return Ok(None),
    }
    let (dir, name) = log.parent()?;
    let plan = plan(former(&dir, &name)?, files);
    for unused in &plan.remove {
        dir.unlink(unused)?;
    }
    for former in &plan.compress {
        compress(&dir, former)?;
    }
    let mut becomes = name.clone();
    becomes.push(machinery::clock::now().strftime(".%Y%m%d-%H%M%S").to_string());
    dir.rename(&name, &becomes)?;
    Ok(Some((dir, name, becomes)))
}

fn compress(dir: &Handle, log: &str) -> io::Result<()> {
    let (unfinished, finished) = (format!("{log}{UNFINISHED}"), format!("{log}{COMPRESSED}"));
    let mut from = dir.read(log)?;
    let to = dir.create(&unfinished, from.metadata()?.mode() & 0o7777)?;
    let mut encoder = GzEncoder::new(to, Compression::default());
    io::copy(&mut from, &mut encoder)?;
    encoder.finish()?;
    dir.rename(unfinished, finished)?;
    dir.unlink(log)
}

#[cfg(test)]
mod tests;
