//! Entry point of the API server.

use apiserver::args::Args;
use clap::Parser as _;
use machinery::tasks::Tasks;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    machinery::logging::init(args.common());
    machinery::tls::use_ring();
    let only_check = args.common().check_flags;
    let config = args.into_config()?;
    if only_check {
        return apiserver::check(&config).await;
    }
    let tasks = Tasks::new();
    apiserver::start(config, &tasks).await?;
    tasks.run_until_stopped().await
}
