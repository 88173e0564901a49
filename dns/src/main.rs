//! Entry point of the DNS server.

use clap::Parser as _;

fn main() -> anyhow::Result<()> {
    let args = dns::args::Args::parse();
    machinery::logging::init(&args.common);
    if args.common.check_flags {
        return Ok(());
    }
    // One thread answers tens of thousands of questions a second; more would cost memory on every node.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(dns::run(args))
}
