//! The supervisor: one process per cluster that starts its daemons, starts them
//! again after a crash, bounds their logs, renews certificates and keeps the routes to pods.
//!
//! Invariant: a daemon runs at most once. What already runs (recorded with its
//! start time) is adopted, so the supervisor may be killed and started again at
//! any moment; its own end leaves the daemons running.

mod keeper;
mod log_files;
mod record;
mod routes;

use std::fs::{self, File, TryLockError};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use machinery::clock::Clock;
use machinery::tasks::Tasks;
use nix::sys::signal::Signal;

use crate::cluster::{Cluster, Store};
use crate::processes::{self, Identity};
use crate::{cgroups, daemons, files, kubeconfig, pki, static_pods};

pub use record::Record;
pub use routes::pod_route;

/// How long daemons that are to end may take, to finish requests and what waits to be written.
const FAREWELL: Duration = Duration::from_secs(5);
/// How often it is looked whether certificates are due.
const RENEW: Duration = Duration::from_secs(3600);

/// The supervisor's log.
pub fn log_path(cluster: &Cluster) -> PathBuf {
    cluster.log_dir(None).join("supervisor.log")
}

fn record_path(cluster: &Cluster) -> PathBuf {
    cluster.run_dir().join("supervisor.json")
}

/// The supervisor of a cluster, if it runs.
pub fn running(cluster: &Cluster) -> Option<Record> {
    let record = record::read(&record_path(cluster))?;
    processes::runs(record.process).then_some(record)
}

/// Since when anything of the cluster has run without a break.
pub fn began(cluster: &Cluster) -> Result<Timestamp> {
    let path = cluster.run_dir().join("began");
    files::ensure(&path, b"", 0o644)?;
    let made = fs::metadata(&path).and_then(|metadata| metadata.modified());
    Ok(made.with_context(|| format!("cannot look at {}", path.display()))?.try_into()?)
}

/// Whether any daemon of the cluster runs.
pub fn any_runs(cluster: &Cluster) -> bool {
    let records = daemons::table(cluster).into_iter().filter_map(|daemon| record_of(cluster, &daemon));
    records.into_iter().any(|record| processes::runs(record.process))
}

/// Starts the supervisor unless it runs; it outlives this process.
pub fn ensure(cluster: &Cluster) -> Result<bool> {
    if running(cluster).is_some() {
        return Ok(false);
    }
    let program = std::env::current_exe().context("cannot find the skiff program")?;
    let log = log_files::open(&log_path(cluster))?;
    let error_log = log.try_clone().context("cannot share a log file")?;
    let mut command = crate::program::command(program);
    // The last slash makes the folder one that contains something, as in other daemons' paths.
    command.args(["supervise", "--cluster", &cluster.name, "--dir"]).arg(cluster.dir.join(""));
    command.arg0("skiff").current_dir("/").stdin(Stdio::null()).stdout(log).stderr(error_log);
    command.spawn().context("cannot start the supervisor")?;
    Ok(true)
}

/// The lock that only one supervisor of a cluster holds.
fn sole(cluster: &Cluster) -> Result<File> {
    let path = cluster.run_dir().join("supervisor.lock");
    let file =
        machinery::files::open_lock(&path).with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!("another supervisor of {} runs", cluster.name),
        Err(TryLockError::Error(e)) => Err(e).with_context(|| format!("cannot lock {}", path.display())),
    }
}

/// Runs the supervisor of the cluster in `dir` until it is told to stop.
pub async fn run(dir: &Path) -> Result<()> {
    let cluster = Cluster::load(dir)?.with_context(|| format!("there is no cluster in {}", dir.display()))?;
    // Away from the terminal; fails only for a process that leads a group already, which is as good.
    let _ = nix::unistd::setsid();
    let _sole = sole(&cluster)?;
    cgroups::enter(&cluster)?;
    let this = i32::try_from(std::process::id()).context("a process number beyond i32")?;
    let process = processes::identity(this).context("cannot find this process in /proc")?;
    let restarts = record::read(&record_path(&cluster)).map_or(0, |before| before.restarts + 1);
    Record::new(process, restarts).write(&record_path(&cluster))?;

    let tasks = Tasks::new();
    for daemon in daemons::table(&cluster).into_iter().filter(|daemon| daemon.pod.is_none()) {
        if let Some(folder) = daemon.log.parent() {
            files::make_dir(folder)?;
        }
        let record = cluster.run_dir().join(daemon.record());
        let stop = tasks.token();
        tasks.spawn("daemon", keeper::keep(daemon, record, stop));
    }
    tasks.spawn("logs", log_files::bound(cluster.clone(), tasks.token()));
    routes::start(&cluster, &tasks)?;
    tasks.spawn_loop("certificates", renew(cluster, Clock::default()));
    tasks.run_until_stopped().await
}

/// Renews certificates when it is time. Daemons see that their files have changed; only those in pods, whose files do not
/// change, begin anew with them.
async fn renew(cluster: Cluster, clock: Clock) -> Result<()> {
    loop {
        clock.sleep_until(clock.instant() + RENEW).await;
        let (dir, now) = (cluster.dir.clone(), clock.now());
        let renew = move || {
            // The description may have changed since.
            let cluster = Cluster::load(&dir)?.context("the cluster is gone")?;
            pki::ensure(&cluster, now)?;
            static_pods::renew_manifests(&cluster)?;
            // Last: a file of the user's that is in disorder is in nobody else's way.
            kubeconfig::renew(&cluster.kubeconfig, &pki::admin(&cluster)?)
        };
        if let Err(error) = tokio::task::spawn_blocking(renew).await? {
            tracing::warn!(error = format!("{error:#}"), "Cannot renew certificates");
        }
    }
}

/// Stops the supervisor so that it starts nothing any more; the daemons go on.
pub fn stop(cluster: &Cluster) -> Result<()> {
    let Some(Record { process, .. }) = running(cluster) else { return Ok(()) };
    processes::signal(process, Signal::SIGKILL)?;
    wait_gone(process);
    Ok(())
}

/// Ends daemons that run with other flags than they are to have, or from another folder, and the supervisor, who knows no
/// others; also one that only waits until it starts a daemon again. An API server that has all objects in its memory is
/// left alone.
pub fn end_outdated(cluster: &Cluster) -> Result<()> {
    let outdated = |daemon: &daemons::Daemon| {
        let kept = daemon.pod.is_some() || (cluster.store == Store::Memory && daemon.name == "apiserver");
        let process = record_of(cluster, daemon).filter(|_| !kept)?.process;
        (processes::runs(process) && processes::command_line(process.pid) != daemon.command())
            .then_some(process)
    };
    let table = daemons::table(cluster);
    let waits = |daemon: &daemons::Daemon| {
        daemon.pod.is_none()
            && record_of(cluster, daemon).is_some_and(|record| !processes::runs(record.process))
    };
    let outdated: Vec<Identity> = table.iter().filter_map(outdated).collect();
    if !outdated.is_empty() || table.iter().any(waits) {
        stop(cluster)?;
    }
    end(&outdated, FAREWELL)
}

/// Asks processes to end, and after a while kills them.
fn end(those: &[Identity], patience: Duration) -> Result<()> {
    those.iter().try_for_each(|process| processes::signal(*process, Signal::SIGTERM))?;
    let deadline = Instant::now() + patience;
    those.iter().try_for_each(|process| {
        if !gone(*process, deadline) {
            processes::signal(*process, Signal::SIGKILL)?;
            wait_gone(*process);
        }
        Ok(())
    })
}

/// Waits for the end of a process; says whether it came in time.
fn gone(process: Identity, deadline: Instant) -> bool {
    while processes::runs(process) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(2));
    }
    !processes::runs(process)
}

fn wait_gone(process: Identity) {
    while !gone(process, Instant::now() + FAREWELL) {}
}

/// A daemon's record: who it is, since when, how often it was started again.
pub fn record_of(cluster: &Cluster, daemon: &daemons::Daemon) -> Option<Record> {
    if daemon.pod.is_some() {
        return static_pods::record(cluster, daemon);
    }
    record::read(&cluster.run_dir().join(daemon.record()))
}

#[cfg(test)]
mod tests;
