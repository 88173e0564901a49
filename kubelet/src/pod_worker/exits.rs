//! Tells at once when a program of a pod ends, without asking the runtime again and again: it waits for the
//! process itself, whose id the runtime tells.

use std::collections::BTreeSet;
use std::os::fd::{AsRawFd, FromRawFd as _, OwnedFd, RawFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::JoinSet;

/// The processes of one pod that are waited for.
#[derive(Default)]
pub(super) struct Exits {
    waiting: JoinSet<String>,
    watched: BTreeSet<String>,
}

impl Exits {
    /// Waits for a process too; answers false when that is not possible.
    pub(super) fn watch(&mut self, id: &str, pid: i32) -> bool {
        if self.watched.contains(id) {
            return true;
        }
        let Ok(descriptor) = open(pid) else { return false };
        // SAFETY: the descriptor is owned by what is registered, valid, and stays the same until dropped.
        let registered = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
        let Ok(process) = registered else { return false };
        self.watched.insert(id.to_owned());
        let id = id.to_owned();
        self.waiting.spawn(async move {
            // An error ends the wait like the end of the process: somebody looks.
            let _readable = process.readable().await;
            id
        });
        true
    }

    /// Forgets all but these.
    pub(super) fn keep(&mut self, is_there: impl Fn(&String) -> bool) {
        self.watched.retain(is_there);
    }

    /// The id of the next container or sandbox whose program ended.
    pub(super) async fn next(&mut self) -> String {
        loop {
            match self.waiting.join_next().await {
                Some(Ok(id)) => return id,
                // Cannot fail but by a panic, and there is none in it.
                Some(Err(error)) => tracing::warn!(%error, "Lost the wait for a process"),
                None => std::future::pending().await,
            }
        }
    }
}

/// A file that becomes readable when the process ends.
fn open(pid: i32) -> std::io::Result<OwnedFd> {
    // SAFETY: the system call takes two integers and touches no memory of ours.
    let fd = unsafe { nix::libc::syscall(nix::libc::SYS_pidfd_open, pid, nix::libc::PIDFD_NONBLOCK) };
    let fd = RawFd::try_from(fd).unwrap_or(-1);
    if fd < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the call above just made this descriptor and nobody else has it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    debug_assert!(fd.as_raw_fd() >= 0);
    Ok(fd)
}

#[cfg(test)]
mod tests;
