//! Entry point of the proxy daemon.

fn main() -> anyhow::Result<()> {
    let args = proxy::args::Args::of_process()?;
    machinery::logging::init(&args.common);
    if args.common.check_flags {
        return args.config().map(drop);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if args.cleanup {
        return runtime.block_on(proxy::cleanup());
    }
    let config = args.config()?;
    runtime.block_on(proxy::run(config))
}
