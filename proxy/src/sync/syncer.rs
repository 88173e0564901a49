//! Brings the kernel's rules to what services and endpoints say, with as few calls as that takes.

use machinery::iptables::{self, IptablesError};
use machinery::netfilter::{Netfilter, Protocol};
use tokio::time::Instant;

use super::blocking;
use crate::conntrack::UdpServices;
use crate::metrics::Metrics;
use crate::render::{Rules, render};
use crate::ruleset::{Ruleset, observe};
use crate::services::ServicePort;

/// Brings the kernel's rules to what a snapshot says, and remembers what it wrote.
pub struct Syncer {
    rules: Rules,
    written: Option<Ruleset>,
    told: bool,
    udp: UdpServices,
    metrics: Metrics,
}

impl Syncer {
    /// Knows nothing yet of what the kernel has.
    pub fn new(rules: Rules, metrics: Metrics) -> Syncer {
        Syncer { rules, written: None, told: false, udp: UdpServices::default(), metrics }
    }

    /// Distrusts what was written.
    pub fn forget(&mut self) {
        self.written = None;
    }

    /// Writes what is different; calls nothing when nothing is.
    pub async fn sync(&mut self, ports: &[ServicePort], zone: Option<&str>) -> Result<(), IptablesError> {
        let started = Instant::now();
        let wanted = render(ports, zone, &self.rules);
        let full = self.written.is_none();
        let text = match &self.written {
            Some(written) => wanted.update_from(written),
            None => wanted.replace(&observe(&blocking(iptables::save).await?)),
        };
        if text.is_some() || full {
            if ports.iter().any(|port| port.node_port.is_some())
                && let Err(error) = machinery::sysctl::set("ipv4/conf/all/route_localnet", "1")
            {
                tracing::warn!(%error, "NodePorts will not answer on 127.0.0.1");
            }
            // Until the restore has worked, nobody knows what is there.
            self.written = None;
            let bytes = text.as_ref().map_or(0, String::len);
            blocking(move || text.map_or(Ok(()), |text| iptables::restore(&text)))
                .await
                .inspect_err(|_| self.metrics.failed(full))?;
            let took = started.elapsed();
            self.metrics.synced(full, took.as_secs_f64(), &wanted);
            if !std::mem::replace(&mut self.told, true) {
                tracing::info!(
                    node = self.rules.node,
                    services = ports.len(),
                    "The rules for services stand"
                );
            }
            tracing::debug!(?took, full, bytes, services = ports.len(), "Wrote rules");
        }
        self.written = Some(wanted);
        self.forget_connections(UdpServices::of(ports, &self.rules.node, zone)).await;
        Ok(())
    }

    /// Has the kernel forget UDP connections to endpoints that are gone.
    async fn forget_connections(&mut self, services: UdpServices) {
        if services == self.udp {
            return;
        }
        self.udp = services.clone();
        if services.is_empty() {
            return;
        }
        match blocking(move || forget_stale(&services)).await {
            Ok(count) => self.metrics.forgot(count),
            Err(error) => tracing::warn!(%error, "Cannot remove stale UDP connections"),
        }
    }
}

fn forget_stale(services: &UdpServices) -> std::io::Result<u64> {
    let mut netfilter = Netfilter::open()?;
    let mut count = 0;
    for connection in netfilter.connections(Protocol::Udp)? {
        if services.is_stale(&connection) {
            count += u64::from(netfilter.forget(&connection)?);
        }
    }
    Ok(count)
}
