//! Entry point of the metrics server.

use clap::Parser as _;

fn main() -> anyhow::Result<()> {
    let args = metrics_server::args::Args::parse();
    machinery::logging::init(&args.common);
    if args.common.check_flags {
        return Ok(());
    }
    // There is little to do at a time; more threads would cost memory.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(metrics_server::run(args))
}
