//! The program of a pod's sandbox: it keeps the pod's namespaces alive and reaps the processes that are
//! left to it when the pod shares one PID namespace, and ends at SIGTERM or SIGINT. `pause scrub FOLDER [ENTRY]` removes
//! the entry of a folder, or all that is in it, instead: every node has this image, so pods that remove the data of
//! volumes run it, too. Corresponds to upstream's `build/pause`.

mod scrub;

use std::path::Path;
use std::process::ExitCode;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (dir, entry) = match *arguments {
        [] => return pause(),
        ["scrub", dir] => (dir, None),
        ["scrub", dir, entry] => (dir, Some(entry)),
        _ => {
            eprintln!("usage: pause, or pause scrub FOLDER [ENTRY]");
            return ExitCode::FAILURE;
        }
    };
    match scrub::scrub(Path::new(dir), entry) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pause: cannot empty {dir}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn pause() -> ExitCode {
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
