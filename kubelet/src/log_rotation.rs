//! Keeps the logs of running containers small: a log that has grown too large gets another name, the runtime
//! begins a new one, older ones are compressed, the oldest go. Names and order of steps are upstream's
//! (`pkg/kubelet/logs`), which log shippers know. What to do is planned by [`plan`], which is pure.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

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
pub fn former(log: &Path) -> Vec<String> {
    let prefix = format!("{}.", log.file_name().unwrap_or_default().to_string_lossy());
    let entries = fs::read_dir(log.parent().unwrap_or(Path::new("/"))).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.starts_with(&prefix)).collect()
}

/// Removes a log and all that it was before.
pub fn remove(log: &Path) -> io::Result<()> {
    for name in former(log) {
        fs::remove_file(log.with_file_name(name))?;
    }
    match fs::remove_file(log) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The running containers of pods, by their id in the runtime, with the log that is written to.
fn logs<'a>(root: &'a Path, pods: &'a [Arc<Pod>]) -> impl Iterator<Item = (String, PathBuf)> + 'a {
    pods.iter().flat_map(move |pod| {
        let lists = pod.status.iter().flat_map(|s| [&s.init_container_statuses, &s.container_statuses]);
        let running =
            lists.flatten().flatten().filter(|c| c.state.as_ref().is_some_and(|s| s.running.is_some()));
        running.filter_map(move |status| {
            let (_, id) = status.container_id.as_deref()?.split_once("://")?;
            let attempt = u32::try_from(status.restart_count).ok()?;
            let log = names::log_dir(root, pod).join(names::log_path(&status.name, attempt));
            Some((id.to_owned(), log))
        })
    })
}

/// Looks at all logs, and rotates those that are too large.
pub async fn look(runtime: &dyn Runtime, root: &Path, pods: &[Arc<Pod>], limits: Limits) {
    let Some(size) = limits.size else { return };
    for (id, log) in logs(root, pods) {
        if !fs::metadata(&log).is_ok_and(|meta| meta.len() >= size) {
            continue;
        }
        if let Err(error) = rotate(runtime, &id, &log, limits.files).await {
            tracing::warn!(log = %log.display(), %error, "Cannot rotate a log");
        }
    }
}

async fn rotate(runtime: &dyn Runtime, id: &str, log: &Path, files: usize) -> io::Result<()> {
    let plan = plan(former(log), files);
    let at = log.to_owned();
    tokio::task::spawn_blocking(move || tidy(&at, &plan)).await.map_err(io::Error::other)??;
    let time = Timestamp::now().strftime("%Y%m%d-%H%M%S");
    let name = format!("{}.{time}", log.file_name().unwrap_or_default().to_string_lossy());
    let becomes = log.with_file_name(name);
    fs::rename(log, &becomes)?;
    if let Err(error) = runtime.reopen_log(id).await {
        // The runtime goes on writing to the file, whatever it is called.
        fs::rename(&becomes, log)?;
        return Err(io::Error::other(error));
    }
    Ok(())
}

fn tidy(log: &Path, plan: &Plan) -> io::Result<()> {
    for name in &plan.remove {
        fs::remove_file(log.with_file_name(name))?;
    }
    plan.compress.iter().try_for_each(|name| compress(&log.with_file_name(name)))
}

fn compress(log: &Path) -> io::Result<()> {
    let with = |ending: &str| {
        let mut name = log.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    let (unfinished, finished) = (with(UNFINISHED), with(COMPRESSED));
    let mut from = File::open(log)?;
    let to = File::create(&unfinished)?;
    to.set_permissions(from.metadata()?.permissions())?;
    let mut encoder = GzEncoder::new(to, Compression::default());
    io::copy(&mut from, &mut encoder)?;
    encoder.finish()?;
    fs::rename(&unfinished, &finished)?;
    fs::remove_file(log)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use serde_json::json;

    use super::*;
    use crate::cri::fake::Fake;

    #[test]
    fn the_oldest_go_and_all_but_the_newest_are_compressed() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let planned = |former: &[&str], files| {
            let plan = plan(names(former), files);
            (plan.remove, plan.compress)
        };
        assert_eq!(planned(&[], 5), (names(&[]), names(&[])));
        assert_eq!(planned(&["0.log.3", "0.log.1.gz", "0.log.2.gz"], 5), (names(&[]), names(&["0.log.3"])));
        assert_eq!(
            planned(&["0.log.4", "0.log.1.gz", "0.log.2.gz", "0.log.3.gz"], 5),
            (names(&["0.log.1.gz"]), names(&["0.log.4"]))
        );
        assert_eq!(planned(&["0.log.1"], 2), (names(&["0.log.1"]), names(&[])));
        // Left by a kubelet that ended in the middle of it.
        assert_eq!(
            planned(&["0.log.1", "0.log.1.gz", "0.log.2", "0.log.2.tmp"], 5),
            (names(&["0.log.1", "0.log.2.tmp"]), names(&["0.log.2"]))
        );
    }

    #[tokio::test]
    async fn a_large_log_is_rotated_and_nothing_is_lost_when_the_runtime_refuses() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("default_web_uid/c");
        fs::create_dir_all(&dir).unwrap();
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "default", "uid": "uid"},
            "status": {"containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": true,
                "restartCount": 1, "containerID": "containerd://id-1", "state": {"running": {}}}]},
        }))
        .unwrap();
        let pods = [Arc::new(pod)];
        let fake = Fake::default();
        let limits = Limits { size: Some(10), files: 3 };
        let log = dir.join("1.log");
        fs::write(dir.join("1.log.20260101-000000"), "older\n").unwrap();
        fs::write(&log, "short\n").unwrap();
        look(&fake, root.path(), &pods, limits).await;
        assert_eq!(former(&log).len(), 1, "it is small");

        fs::write(&log, "long enough\n").unwrap();
        fake.refuse_logs.store(true, std::sync::atomic::Ordering::SeqCst);
        look(&fake, root.path(), &pods, limits).await;
        assert_eq!(fs::read_to_string(&log).unwrap(), "long enough\n", "it has its name back");
        let compressed = File::open(dir.join("1.log.20260101-000000.gz")).unwrap();
        let mut text = String::new();
        flate2::read::GzDecoder::new(compressed).read_to_string(&mut text).unwrap();
        assert_eq!(text, "older\n");

        fake.refuse_logs.store(false, std::sync::atomic::Ordering::SeqCst);
        look(&fake, root.path(), &pods, limits).await;
        assert!(!log.exists(), "the runtime makes it anew");
        let mut names = former(&log);
        names.sort();
        assert_eq!((names.len(), names[0].as_str()), (2, "1.log.20260101-000000.gz"));
        remove(&log).unwrap();
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    }
}
