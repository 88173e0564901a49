//! The program of a pod's sandbox: it keeps the pod's namespaces alive and reaps the processes that are
//! left to it when the pod shares one PID namespace. It ends at SIGTERM or SIGINT and does nothing else.
//! Corresponds to upstream's `build/pause`.

use std::process::ExitCode;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

fn main() -> ExitCode {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGCHLD] {
        signals.add(signal);
    }
    if let Err(error) = signals.thread_block() {
        eprintln!("pause: cannot block signals: {error}");
        return ExitCode::FAILURE;
    }
    loop {
        match signals.wait() {
            Ok(Signal::SIGCHLD) => reap(),
            Ok(_) => return ExitCode::SUCCESS,
            Err(Errno::EINTR) => {}
            Err(error) => {
                eprintln!("pause: cannot wait for signals: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
}

/// Collects every child that has ended; several ends may hide behind one SIGCHLD.
fn reap() {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            return;
        }
    }
}
