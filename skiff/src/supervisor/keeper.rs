//! Keeps one daemon running: adopt or start, wait for its end, start again with
//! growing pauses.

use std::net::SocketAddr;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::io::unix::AsyncFd;
use tokio_util::sync::CancellationToken;

use super::log_files;
use super::record::{self, Record};
use crate::daemons::{Awaited, Daemon};
use crate::files;
use crate::network;
use crate::processes::{self, Identity};

/// The pause before the first restart; it doubles with every further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A daemon that ran this long starts with the first pause again.
const GOOD_RUN: Duration = Duration::from_secs(30);
/// How long a daemon's start waits for what it needs.
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(15);

/// Says how long to wait before the next start, after a run of this length.
fn pause_after(run: Duration, last: Duration) -> Duration {
    if run >= GOOD_RUN { FIRST_PAUSE } else { (last * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE) }
}

/// Keeps the daemon running until told to stop, and then leaves it running.
pub async fn keep(daemon: Daemon, record_path: PathBuf, stop: CancellationToken) -> Result<()> {
    let mut restarts = record::read(&record_path).map_or(0, |record| record.restarts);
    let mut pause = Duration::ZERO;
    let mut adopted = adopt(&daemon, &record_path, restarts)?;
    while !stop.is_cancelled() {
        let began = Instant::now();
        let process = match adopted.take() {
            Some(process) => {
                tracing::info!(daemon = daemon.name, pid = process.pid, "Found running");
                Some(process)
            }
            None => {
                let started = start(&daemon, &record_path, restarts, &stop).await;
                started
                    .inspect_err(|e| {
                        tracing::error!(daemon = daemon.name, error = format!("{e:#}"), "Cannot start")
                    })
                    .ok()
            }
        };
        if let Some(process) = process {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                end = ended(process) => tracing::warn!(daemon = daemon.name, pid = process.pid, end = end?, "Daemon ended"),
            }
        }
        restarts += 1;
        pause = pause_after(began.elapsed(), pause);
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
    }
    Ok(())
}

/// Finds the daemon if it runs already: by its record, or, when the last supervisor was
/// killed before it could write one, by its command line.
fn adopt(daemon: &Daemon, record_path: &Path, restarts: u32) -> Result<Option<Identity>> {
    if let Some(record) = record::read(record_path).filter(|record| processes::runs(record.process)) {
        return Ok(Some(record.process));
    }
    let found = processes::with_command_line(&daemon.command())?;
    if let Some(process) = found {
        Record::new(process, restarts).write(record_path)?;
    }
    Ok(found)
}

async fn start(
    daemon: &Daemon,
    record_path: &Path,
    restarts: u32,
    stop: &CancellationToken,
) -> Result<Identity> {
    let wait = async {
        for awaited in &daemon.after {
            while !answers(&daemon.netns, awaited).await {
                tokio::time::sleep(LOOK).await;
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => anyhow::bail!("told to stop"),
        waited = tokio::time::timeout(LONGEST_WAIT, wait) => if waited.is_err() {
            tracing::warn!(daemon = daemon.name, awaited = format!("{:?}", daemon.after), "Starting without what it needs");
        }
    }
    // Whoever made them is gone.
    daemon.sockets.iter().try_for_each(|socket| files::remove(socket))?;
    let log = log_files::open(&daemon.log)?;
    let error_log = log.try_clone().context("cannot share a log file")?;
    // nsenter changes the network namespace only: /sys and with it the cgroups stay visible.
    let mut command = crate::program::command("nsenter");
    command.arg(format!("--net={}", network::netns_path(&daemon.netns).display())).arg("--");
    command.arg(&daemon.program).args(&daemon.arguments);
    command.current_dir(&daemon.folder).stdin(Stdio::null()).stdout(log).stderr(error_log).process_group(0);
    if let Some(hostname) = daemon.hostname.clone() {
        under_name(&mut command, hostname);
    }
    let mut child = command.spawn().context("cannot start nsenter")?;
    let pid = i32::try_from(child.id()).context("a process number beyond i32")?;
    let Some(process) = processes::identity(pid) else {
        let status = child.wait().context("cannot wait for a daemon")?;
        anyhow::bail!("it ended at once with {status}");
    };
    if let Err(error) = Record::new(process, restarts).write(record_path) {
        // Without a record nobody would find it again, and start a second one beside it.
        child.kill().context("cannot end a daemon that cannot be recorded")?;
        child.wait().context("cannot wait for a daemon")?;
        return Err(error);
    }
    tracing::info!(daemon = daemon.name, pid, "Started");
    Ok(process)
}

/// Has a program run in a UTS namespace of its own, with a host name: what a node's containerd starts on the
/// host's network sees the node's name.
fn under_name(command: &mut Command, hostname: String) {
    let enter = move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUTS)?;
        nix::unistd::sethostname(&hostname)?;
        Ok(())
    };
    // SAFETY: between fork and exec only two system calls are made; nothing is allocated or locked.
    unsafe { command.pre_exec(enter) };
}

async fn answers(netns: &str, awaited: &Awaited) -> bool {
    match awaited {
        Awaited::Unix(path) => tokio::net::UnixStream::connect(path).await.is_ok(),
        // Loopback is the namespace's own; everything else is reached from the host as well.
        Awaited::Tcp(address) if address.ip().is_loopback() => {
            let (netns, address) = (netns.to_owned(), SocketAddr::from(*address));
            let connect =
                move || std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok();
            let answer = tokio::task::spawn_blocking(move || network::inside(&netns, connect)).await;
            matches!(answer, Ok(Ok(true)))
        }
        Awaited::Tcp(address) => {
            let connect = tokio::net::TcpStream::connect(SocketAddr::from(*address));
            matches!(tokio::time::timeout(Duration::from_secs(1), connect).await, Ok(Ok(_)))
        }
    }
}

/// A descriptor of a process that becomes readable when it ends.
fn pidfd(pid: i32) -> std::io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two numbers and touches no memory of ours.
    let fd = unsafe { nix::libc::syscall(nix::libc::SYS_pidfd_open, pid, 0) };
    let fd = i32::try_from(fd).unwrap_or(-1);
    if fd < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Waits until the process has ended, ours or an adopted one, and says how.
async fn ended(process: Identity) -> Result<String> {
    match pidfd(process.pid) {
        // The number may have gone to another process between the record and now.
        Ok(_) if processes::identity(process.pid).is_some_and(|now| now != process) => {}
        Ok(fd) => {
            // SAFETY: the descriptor is open and owned by the AsyncFd until that is dropped.
            let fd = unsafe { AsyncFd::register_with_interest(fd, tokio::io::Interest::READABLE) };
            let fd = fd.map_err(std::io::Error::from).context("cannot watch a process")?;
            fd.readable().await.context("cannot watch a process")?.retain_ready();
        }
        Err(e) if e.raw_os_error() == Some(nix::libc::ESRCH) => {}
        Err(e) => return Err(e).context("cannot watch a process"),
    }
    Ok(match waitpid(Pid::from_raw(process.pid), Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::Exited(_, code)) => format!("exit code {code}"),
        Ok(WaitStatus::Signaled(_, signal, _)) => signal.to_string(),
        _ => "unknown, it was started by an earlier supervisor".into(),
    })
}

#[cfg(test)]
mod tests;
