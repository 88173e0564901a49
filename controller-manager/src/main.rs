//! Entry point of the controller-manager daemon.

use clap::Parser;
use controller_manager::args::Args;
use machinery::tasks::Tasks;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    machinery::logging::init(&args.common);
    let kubeconfig = args.client.kubeconfig.clone();
    let only_check = args.common.check_flags;
    let config = args.into_config()?;
    if only_check {
        return Ok(());
    }
    let client = machinery::client::connect(&kubeconfig, controller_manager::NAME)?;
    let tasks = Tasks::new();
    controller_manager::run(config, client, &tasks).await?;
    tasks.run_until_stopped().await
}
