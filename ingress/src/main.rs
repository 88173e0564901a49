//! Entry point of the ingress controller.

use clap::Parser as _;

/// More threads than this would cost memory and be of use to nobody on a machine that runs a whole cluster.
const MOST_THREADS: usize = 4;

fn main() -> anyhow::Result<()> {
    let args = ingress::args::Args::parse();
    machinery::logging::init(&args.common);
    if args.common.check_flags {
        return Ok(());
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    runtime.block_on(ingress::run(args))
}
