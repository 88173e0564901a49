//! NetworkPolicies on this node: which connections of its pods are let through.
//!
//! `plan` says which chains policies make, `table` how to get there from what is there; both are pure. The loop here
//! watches, and hands `nft` what changed. As long as there is no policy, pods are not watched and nothing is asked of
//! the kernel.

mod plan;
mod table;
#[cfg(test)]
mod tests;

use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::core::PartialObjectMeta;
use machinery::backoff::Backoff;
use machinery::cache::{Cache, Selectors, Subscription};
use machinery::iptables::{self, IptablesError, Watch};
use machinery::tasks::Tasks;
use tokio::time::Instant;

use crate::sync::blocking;
pub use plan::{Snapshot, plan};
pub use table::Table;

/// Where policies and what they speak of come from.
pub struct Sources {
    /// For what is only watched once there is a policy.
    pub client: kube::Client,
    /// Owns the watches.
    pub tasks: Tasks,
    /// This node's name.
    pub node: String,
    /// This node alone.
    pub nodes: Cache<Node>,
}

/// Whom policies are about.
struct Subjects {
    pods: Cache<Pod>,
    namespaces: Cache<PartialObjectMeta<Namespace>>,
    changes: [Subscription; 2],
}

impl Subjects {
    async fn watch(sources: &Sources) -> Subjects {
        let (client, tasks) = (&sources.client, &sources.tasks);
        let pods: Cache<Pod> = Cache::start(kube::Api::all(client.clone()), Selectors::all(), tasks);
        let namespaces =
            Cache::start_metadata(kube::Api::<Namespace>::all(client.clone()), Selectors::all(), tasks);
        let changes = [pods.subscribe(), namespaces.subscribe()];
        pods.wait_synced().await;
        namespaces.wait_synced().await;
        Subjects { pods, namespaces, changes }
    }

    async fn changed(subjects: &mut Option<Subjects>) {
        let Some(Subjects { changes: [pods, namespaces], .. }) = subjects else {
            return std::future::pending().await;
        };
        tokio::select! {
            () = pods.changed() => {}
            () = namespaces.changed() => {}
        }
    }
}

/// Brings the kernel's table to what is wanted, and remembers what it wrote.
#[derive(Default)]
pub struct Writer {
    written: Option<Table>,
    /// Whether that has ever worked.
    works: bool,
}

impl Writer {
    /// Writes what is different; calls nothing when nothing is.
    pub async fn write(&mut self, wanted: Table) -> Result<(), IptablesError> {
        self.write_with(wanted, |text| iptables::nft(&["-f", "-"], text)).await
    }

    async fn write_with(
        &mut self,
        wanted: Table,
        nft: impl FnOnce(&str) -> Result<(), IptablesError> + Send + 'static,
    ) -> Result<(), IptablesError> {
        let text = match &self.written {
            Some(written) => wanted.update_from(written),
            None => Some(wanted.replace()),
        };
        if let Some(text) = text {
            let started = Instant::now();
            // Until that has worked, nobody knows what is there.
            self.written = None;
            let bytes = text.len();
            blocking(move || nft(&text)).await?;
            self.works = true;
            tracing::debug!(took = ?started.elapsed(), bytes, "Wrote policies");
        }
        self.written = Some(wanted);
        Ok(())
    }

    /// Whether there should be a table of which the kernel knows nothing.
    pub async fn is_lost(&self) -> bool {
        let exists = || iptables::nft(&["list", "chain", "ip", table::NAME, "check-ingress"], "");
        self.written.as_ref().is_some_and(|table| !table.chains.is_empty()) && blocking(exists).await.is_err()
    }
}

/// Runs until stopped.
pub async fn run(sources: Sources, look_every: Duration, stop: machinery::CancellationToken) {
    let policies: Cache<NetworkPolicy> =
        Cache::start(kube::Api::all(sources.client.clone()), Selectors::all(), &sources.tasks);
    let mut changes = [policies.subscribe(), sources.nodes.subscribe()];
    let synced = async {
        policies.wait_synced().await;
        sources.nodes.wait_synced().await;
    };
    if stop.run_until_cancelled(synced).await.is_none() {
        return;
    }
    let mut subjects: Option<Subjects> = None;
    let (mut writer, mut watch) = (Writer::default(), Watch::default());
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
    let mut look = tokio::time::interval(look_every);
    let (mut next, mut pending) = (Instant::now(), true);
    loop {
        let [of_policies, of_nodes] = &mut changes;
        tokio::select! {
            () = stop.cancelled() => return,
            () = of_policies.changed() => pending = true,
            () = of_nodes.changed() => pending = true,
            () = Subjects::changed(&mut subjects) => pending = true,
            _ = look.tick() => {
                if watch.changed() && writer.is_lost().await {
                    tracing::info!("The table of policies is gone; writing it anew");
                    (writer.written, pending) = (None, true);
                }
            }
            () = tokio::time::sleep_until(next), if pending => {
                if !policies.is_empty() && subjects.is_none() {
                    subjects = stop.run_until_cancelled(Subjects::watch(&sources)).await;
                }
                let started = Instant::now();
                let wanted = match &subjects {
                    Some(subjects) => plan(&snapshot(&sources, &policies, subjects)),
                    None => Table::default(),
                };
                pending = match writer.write(wanted).await {
                    Ok(()) => {
                        backoff.reset();
                        // Half of the time at most goes into this.
                        next = Instant::now() + started.elapsed();
                        false
                    }
                    // Without policies there is nothing to enforce, and no `nft` is needed; but what was written
                    // has to go.
                    Err(error) if policies.is_empty() && !writer.works => {
                        tracing::debug!(error = &error as &dyn std::error::Error, "Cannot remove the table of policies");
                        writer.written = Some(Table::default());
                        false
                    }
                    Err(error) => {
                        let what = if policies.is_empty() { "remove the table of policies" } else { "enforce network policies" };
                        tracing::error!(error = &error as &dyn std::error::Error, "Cannot {what}");
                        next = Instant::now() + backoff.pause();
                        true
                    }
                };
            }
        }
    }
}

fn snapshot(sources: &Sources, policies: &Cache<NetworkPolicy>, subjects: &Subjects) -> Snapshot {
    let node = sources.nodes.list().into_iter().next();
    let range = node.and_then(|node| node.spec.as_ref()?.pod_cidr.as_ref()?.parse().ok());
    Snapshot {
        node: sources.node.clone(),
        pod_range: range,
        policies: policies.list(),
        pods: subjects.pods.list(),
        namespaces: subjects.namespaces.list(),
    }
}

/// Takes the table away.
pub async fn cleanup() {
    if let Err(error) = blocking(|| iptables::nft(&["-f", "-"], table::REMOVE)).await {
        tracing::debug!(error = &error as &dyn std::error::Error, "Cannot remove the table of policies");
    }
}
