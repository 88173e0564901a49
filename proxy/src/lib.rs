//! The proxy of a node: services and endpoints become iptables rules.
//!
//! `services` reads the API's objects, `endpoints` chooses, `render` says which chains that
//! makes, `ruleset` how to get there from what is there; all four are pure. `sync` watches, and
//! hands what changed to iptables. `policies` beside them lets through what network policies
//! allow. Upstream: `cmd/kube-proxy`, `pkg/proxy`.

pub mod args;
mod conntrack;
mod endpoints;
pub mod health;
pub mod metrics;
pub mod names;
pub mod policies;
pub mod render;
pub mod ruleset;
pub mod services;
pub mod sync;

use std::sync::Arc;

use anyhow::Context as _;
use http::StatusCode;
use machinery::cache::{Cache, Selectors};
use machinery::iptables;
use machinery::netfilter::Netfilter;
use machinery::serve::pages;
use machinery::tasks::Tasks;

use args::Config;
use health::{Health, ServiceHealth};
use metrics::Metrics;
use render::{INVALID_COUNTER, LOCALHOST_COUNTER};
use ruleset::{Ruleset, observe};
use services::{HEADLESS_LABEL, PROXY_NAME_LABEL};

/// Runs the proxy until it is stopped. The rules stay, so that services outlive a restart.
pub async fn run(mut config: Config) -> anyhow::Result<()> {
    prepare_node(&mut config);
    let tasks = Tasks::new();
    let health = Health::new(config.sync_period * 2);
    let mut registry = machinery::metrics::registry();
    let metrics = Metrics::new(&mut registry);
    serve(&config, &tasks, &health, registry)?;

    let client = machinery::client::connect(&config.kubeconfig, "proxy")?;
    // Before that, its roles may not be there.
    if !machinery::client::wait_ready(&client, &tasks.token()).await {
        return Ok(());
    }
    let ours = Selectors::labels(format!("!{PROXY_NAME_LABEL},!{HEADLESS_LABEL}"));
    let caches = sync::Caches {
        services: Cache::start(kube::Api::all(client.clone()), ours.clone(), &tasks),
        slices: Cache::start(kube::Api::all(client.clone()), ours, &tasks),
        nodes: Cache::start(
            kube::Api::all(client.clone()),
            Selectors::fields(format!("metadata.name={}", config.rules.node)),
            &tasks,
        ),
    };
    let service_health = ServiceHealth::new(health.clone(), tasks.clone());
    let sources = policies::Sources {
        client,
        tasks: tasks.clone(),
        node: config.rules.node.clone(),
        nodes: caches.nodes.clone(),
    };
    let (look_every, stop) = (config.sync_period, tasks.token());
    tasks.spawn("policies", async move {
        policies::run(sources, look_every, stop).await;
        Ok(())
    });
    let stop = tasks.token();
    tasks.spawn("sync", async move {
        sync::run(config, caches, health, service_health, metrics, stop).await;
        Ok(())
    });
    tasks.run_until_stopped().await
}

/// Settings and counters that the rules rely on; what cannot be had is done without.
fn prepare_node(config: &mut Config) {
    if let Err(error) = machinery::sysctl::set("ipv4/ip_forward", "1") {
        tracing::warn!(%error, "Traffic will not be forwarded to pods");
    }
    config.rules.liberal_tcp =
        machinery::sysctl::get("netfilter/nf_conntrack_tcp_be_liberal").is_ok_and(|value| value == "1");
    let counters = Netfilter::open().and_then(|mut netfilter| {
        netfilter.add_counter(INVALID_COUNTER)?;
        netfilter.add_counter(LOCALHOST_COUNTER)
    });
    match counters {
        Ok(()) => config.rules.counters = true,
        Err(error) => tracing::info!(%error, "The kernel has no named counters; doing without"),
    }
}

fn serve(
    config: &Config,
    tasks: &Tasks,
    health: &Health,
    registry: machinery::metrics::Registry,
) -> anyhow::Result<()> {
    let (health, stop) = (health.clone(), tasks.token());
    pages::listen(tasks, config.healthz, stop.clone(), Arc::new(move |path: &str| health.answer(path)))
        .with_context(|| format!("cannot listen for health on {}", config.healthz))?;
    let text = "text/plain; charset=utf-8";
    let handler = move |path: &str| match path {
        "/metrics" => pages::answer(
            StatusCode::OK,
            machinery::metrics::CONTENT_TYPE,
            machinery::metrics::text(&registry),
        ),
        "/proxyMode" => pages::answer(StatusCode::OK, text, "iptables".to_owned()),
        "/healthz" => pages::answer(StatusCode::OK, text, "ok".to_owned()),
        _ => pages::not_found(),
    };
    pages::listen(tasks, config.metrics, stop, Arc::new(handler))
        .with_context(|| format!("cannot listen for metrics on {}", config.metrics))?;
    Ok(())
}

/// Removes all rules and counters of the proxy.
pub async fn cleanup() -> anyhow::Result<()> {
    policies::cleanup().await;
    tokio::task::spawn_blocking(|| match Ruleset::remove(&observe(&iptables::save()?)) {
        Some(text) => iptables::restore(&text),
        None => Ok(()),
    })
    .await??;
    let counters = Netfilter::open().and_then(|mut netfilter| {
        netfilter.delete_counter(INVALID_COUNTER)?;
        netfilter.delete_counter(LOCALHOST_COUNTER)
    });
    if let Err(error) = counters {
        tracing::debug!(%error, "Cannot remove counters");
    }
    Ok(())
}
