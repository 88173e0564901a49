//! `skiff`, the tool: see the library for what it does.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use nix::sys::signal::{SigHandler, Signal, signal};
use skiff::args::{Arguments, Verb};
use skiff::{down, load, logs, status, supervisor, up};

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("skiff: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn block_on(threads: usize, work: impl Future<Output = Result<()>>) -> Result<()> {
    let mut builder = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.enable_all().build().context("cannot start the runtime")?.block_on(work)
}

/// Lets the process end as others do when whoever reads its output has read enough (`skiff logs … | head`).
fn end_with_the_reader() {
    // SAFETY: the default action runs no code of ours, and no other thread exists yet.
    let set = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
    // Setting the default action of an existing signal cannot fail.
    debug_assert!(set.is_ok());
}

fn run(arguments: Arguments) -> Result<()> {
    match arguments.verb {
        Verb::Up(flags) => block_on(2, up::run(*flags)),
        Verb::Down(flags) => down::down(&flags),
        Verb::Stop(flags) => down::stop(&flags),
        Verb::Load(flags) => load::run(&flags),
        Verb::Status(flags) => {
            end_with_the_reader();
            block_on(1, status::run(&flags))
        }
        Verb::Logs(flags) => {
            end_with_the_reader();
            logs::run(&flags)
        }
        Verb::Supervise(flags) => {
            machinery::logging::init(&machinery::args::CommonArgs {
                cluster: flags.cluster,
                verbosity: 2,
                check_flags: false,
            });
            block_on(1, supervisor::run(&flags.dir))
        }
    }
}
