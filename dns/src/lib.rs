//! Cluster DNS: names of services and pods from the API's objects, other names from whom the Corefile says.
//!
//! `corefile` reads the configuration; `chain` is one server block of it at work, with `rewrite`, `template`, `hosts`,
//! `kubernetes`, `cache` and `forward` as its links; `server` has the sockets. The server blocks of a changed
//! Corefile take the place of the old ones as a whole, or, when something is wrong with one, not at all; how long to go on
//! at the end and how often to look for changes are read at start. Upstream: CoreDNS, whose configuration
//! people bring along, and the Kubernetes DNS specification.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests start tasks and programs of their own"))]

pub mod args;
pub mod cache;
pub mod chain;
pub mod corefile;
pub mod forward;
pub mod hosts;
pub mod kubernetes;
pub mod message;
pub mod metrics;
pub mod reply;
pub mod rewrite;
pub mod server;
pub mod template;

mod running;

use std::time::Duration;

use anyhow::Context as _;
use machinery::tasks::Tasks;

use args::Args;
use running::Running;

/// Runs the server until it is stopped.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(&args.conf)
        .with_context(|| format!("cannot read {}", args.conf.display()))?;
    let servers = corefile::parse(&text)?;
    let lameduck = servers.iter().filter_map(|server| Some(server.health?.1)).max().unwrap_or_default();
    let reload = servers.iter().filter_map(|server| server.reload).min();

    let tasks = Tasks::new();
    let mut running = Running::new(args.kubeconfig.clone(), tasks.clone());
    running.take(servers).await?;
    running.serve_http()?;
    // Callers still come while the word spreads that this server is going.
    let stopping = running.stopping();
    tasks.before_stop("lameduck", async move {
        stopping.cancel();
        tokio::time::sleep(lameduck).await;
    });
    tasks.spawn_loop("corefile", async move {
        running.look_for_circles().await?;
        let mut known = text;
        loop {
            tokio::time::sleep(reload.unwrap_or(Duration::MAX)).await;
            let text = match tokio::fs::read_to_string(&args.conf).await {
                Ok(text) if text != known => text,
                Ok(_) => continue,
                Err(error) => {
                    tracing::warn!(%error, "Cannot read the Corefile; going on with the one before");
                    continue;
                }
            };
            match running.reload(&text).await {
                Ok(()) => {
                    tracing::info!("The changed Corefile is in use");
                    known = text;
                }
                // It is tried again: what it wants may be there then.
                Err(error) => tracing::error!("{error:#}; going on with the Corefile before"),
            }
        }
    });
    tasks.run_until_stopped().await
}
