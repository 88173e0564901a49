//! Which processes and mounts of this machine belong to a cluster.
//!
//! Found by what they are: members of the cluster's cgroups, daemons whose
//! command line names the cluster, containerd and its shims whose command line
//! names the cluster's folder. Nothing else is ever signalled.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::cgroups;
use crate::cluster::Cluster;

/// Programs that carry `--cluster NAME`.
const DAEMONS: [&str; 5] = ["apiserver", "scheduler", "controller-manager", "kubelet", "proxy"];
/// Programs that carry paths in the cluster's folder.
const TENANTS: [&str; 7] = ["etcd", "containerd", "containerd-shim", "ctr", "runc", "skiff-cni", "nsenter"];
/// How long killed processes may take to go.
const PATIENCE: Duration = Duration::from_secs(20);

/// Undoes the octal escapes of the kernel's mount tables.
pub fn unescape(text: &str) -> PathBuf {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = text.get(at + 1..at + 4).filter(|_| bytes[at] == b'\\');
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                plain.push(byte);
                at += 4;
            }
            None => {
                plain.push(bytes[at]);
                at += 1;
            }
        }
    }
    PathBuf::from(OsString::from_vec(plain))
}

/// The text of this process's mount table.
pub fn mountinfo() -> Result<String> {
    fs::read_to_string("/proc/thread-self/mountinfo").context("cannot read /proc/thread-self/mountinfo")
}

/// Mount points at or below `dir`, the latest mounts first.
pub fn mounts_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let table = mountinfo()?;
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape);
    let mut found: Vec<PathBuf> = points.filter(|point| point.starts_with(dir)).collect();
    found.reverse();
    Ok(found)
}

/// Takes all mounts below `dir` away.
pub fn unmount_below(dir: &Path) -> Result<()> {
    for _ in 0..10 {
        let points = mounts_below(dir)?;
        if points.is_empty() {
            return Ok(());
        }
        // A part of a folder may be mounted here with what is mounted in it; there that is to stay.
        for point in &points {
            let private = nix::mount::MsFlags::MS_PRIVATE;
            match nix::mount::mount(None::<&str>, point, None::<&str>, private, None::<&str>) {
                // It lies below a later mount.
                Ok(()) | Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOENT) => {}
                Err(e) => return Err(e).with_context(|| format!("cannot detach {}", point.display())),
            }
        }
        for point in points {
            let flags = nix::mount::MntFlags::MNT_DETACH | nix::mount::MntFlags::UMOUNT_NOFOLLOW;
            match nix::mount::umount2(&point, flags) {
                // Gone with a mount above it.
                Ok(()) | Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOENT) => {}
                Err(e) => return Err(e).with_context(|| format!("cannot unmount {}", point.display())),
            }
        }
    }
    bail!("mounts below {} come back again and again", dir.display())
}

/// What tells a process from a later one with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its number.
    pub pid: i32,
    /// When it started, in ticks since the machine did.
    pub start: u64,
}

/// Reads state and start time out of `/proc/PID/stat`.
fn state_and_start(stat: &str) -> Option<(char, u64)> {
    // The second field is the program's name in parentheses and may contain anything.
    let rest = stat.rsplit_once(')')?.1;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// The identity of a running process; `None` if there is none, or only its remains.
pub fn identity(pid: i32) -> Option<Identity> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (state, start) = state_and_start(&stat)?;
    (!matches!(state, 'Z' | 'X')).then_some(Identity { pid, start })
}

/// Whether that very process still runs.
pub fn runs(process: Identity) -> bool {
    identity(process.pid) == Some(process)
}

/// When a process was started.
pub fn since(process: Identity) -> Option<jiff::Timestamp> {
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let uptime: f64 = uptime.split(' ').next()?.parse().ok()?;
    // The kernel tells ticks of a hundredth of a second to whoever asks.
    let age = jiff::SignedDuration::try_from_secs_f64(uptime - process.start as f64 / 100.0).ok()?;
    machinery::clock::now().checked_sub(age).ok()
}

/// The command line of a process.
pub fn command_line(pid: i32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = bytes.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
    let mut words: Vec<String> = words.collect();
    words.pop();
    words
}

/// Whether a command line is that of one of the cluster's own programs.
pub fn is_ours(command: &[String], name: &str, dir: &Path) -> bool {
    let Some((program, arguments)) = command.split_first() else { return false };
    let program = program.rsplit('/').next().unwrap_or_default();
    let says_cluster = arguments.windows(2).any(|pair| pair[0] == "--cluster" && pair[1] == name)
        || arguments.iter().any(|argument| argument.strip_prefix("--cluster=") == Some(name));
    let folder = format!("{}/", dir.display());
    let says_folder = arguments.iter().any(|argument| argument.contains(&folder));
    match program {
        "skiff" => says_cluster && says_folder && arguments.first().is_some_and(|verb| verb == "supervise"),
        _ if DAEMONS.contains(&program) => says_cluster && says_folder,
        _ => TENANTS.iter().any(|tenant| program.starts_with(tenant)) && says_folder,
    }
}

fn all_pids() -> Result<Vec<i32>> {
    let entries = fs::read_dir("/proc").context("cannot read /proc")?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

/// A running process with exactly this command line.
pub fn with_command_line(command: &[String]) -> Result<Option<Identity>> {
    let same = |pid: &i32| command_line(*pid) == command;
    Ok(all_pids()?.into_iter().filter(same).find_map(identity))
}

/// All running processes of a cluster.
pub fn of(cluster: &Cluster) -> Result<Vec<Identity>> {
    let mut pids = cgroups::members(cluster)?;
    for pid in all_pids()? {
        if is_ours(&command_line(pid), &cluster.name, &cluster.dir) {
            pids.push(pid);
        }
    }
    pids.sort_unstable();
    pids.dedup();
    let this = i32::try_from(std::process::id()).unwrap_or_default();
    Ok(pids.into_iter().filter(|pid| *pid != this).filter_map(identity).collect())
}

/// Sends a signal; a process that is gone is fine.
pub fn signal(process: Identity, signal: Signal) -> Result<()> {
    if !runs(process) {
        return Ok(());
    }
    match kill(Pid::from_raw(process.pid), signal) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
        Err(e) => Err(io::Error::from(e)).with_context(|| format!("cannot signal process {}", process.pid)),
    }
}

/// Kills all processes of a cluster and returns when none is left.
pub fn kill_all(cluster: &Cluster) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        // A process may fork between the look and the signal: look until there is nothing.
        let found = of(cluster)?;
        if found.is_empty() {
            return Ok(());
        }
        found.iter().try_for_each(|process| signal(*process, Signal::SIGKILL))?;
        if Instant::now() > deadline {
            let left: Vec<String> = found.iter().map(|process| process.pid.to_string()).collect();
            bail!("processes do not go away after SIGKILL: {}", left.join(", "));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests;
