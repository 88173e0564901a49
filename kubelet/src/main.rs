//! Entry point of the kubelet daemon.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let args = kubelet::args::Args::of_process()?;
    machinery::logging::init(&args.common);
    let only_check = args.common.check_flags;
    let config = args.into_config()?;
    if only_check {
        return Ok(());
    }
    kubelet::run(config).await
}
