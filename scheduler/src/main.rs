//! Entry point of the scheduler daemon.

use clap::Parser as _;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let args = scheduler::Args::parse();
    machinery::logging::init(&args.common);
    if args.common.check_flags {
        return Ok(());
    }
    scheduler::run(args.into()).await
}
