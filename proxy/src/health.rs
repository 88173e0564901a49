//! Is the proxy keeping up, and does this node have endpoints of a service?
//!
//! The first is asked on one port (`/healthz`, `/livez`); the second, by load balancers, on the
//! health check port of each service with `externalTrafficPolicy: Local`. Upstream:
//! `pkg/proxy/healthcheck`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderValue, StatusCode};
use machinery::CancellationToken;
use machinery::tasks::Tasks;
use parking_lot::Mutex;
use serde_json::json;

use crate::services::ServicePort;
use machinery::serve::pages::{Answer, answer, listen, not_found};

/// What a service's health check says: namespace, name, ready endpoints on this node.
type LocalEndpoints = (String, String, usize);

#[derive(Debug)]
struct State {
    last_sync: Option<jiff::Timestamp>,
    waiting_since: Option<Instant>,
    node_eligible: bool,
    services: BTreeMap<u16, LocalEndpoints>,
}

/// The proxy's health. Clones share it.
#[derive(Debug, Clone)]
pub struct Health {
    state: Arc<Mutex<State>>,
    timeout: Duration,
}

impl Health {
    /// Healthy as long as no change waits longer than `timeout`, once the first was applied.
    pub fn new(timeout: Duration) -> Health {
        let state =
            State { last_sync: None, waiting_since: None, node_eligible: true, services: BTreeMap::new() };
        Health { state: Arc::new(Mutex::new(state)), timeout }
    }

    /// A change waits.
    pub fn queued(&self) {
        self.state.lock().waiting_since.get_or_insert_with(Instant::now);
    }

    /// All changes seen so far are applied.
    pub fn synced(&self) {
        let mut state = self.state.lock();
        state.last_sync = Some(machinery::clock::now());
        state.waiting_since = None;
    }

    /// Should load balancers send anything here? Not to a node that is being taken away.
    pub fn set_node_eligible(&self, eligible: bool) {
        self.state.lock().node_eligible = eligible;
    }

    fn is_healthy(&self, state: &State) -> bool {
        state.last_sync.is_some() && state.waiting_since.is_none_or(|since| since.elapsed() < self.timeout)
    }

    /// The answer to `/healthz` (which minds the node) or `/livez` (which does not).
    pub fn answer(&self, path: &str) -> Answer {
        let state = self.state.lock();
        let mut healthy = self.is_healthy(&state);
        let now = machinery::clock::now();
        // While nothing waits, what is there is up to date.
        let last = if healthy && state.waiting_since.is_none() { Some(now) } else { state.last_sync };
        let last = last.map(|time| time.to_string()).unwrap_or_default();
        let mut body = json!({"lastUpdated": last, "currentTime": now.to_string()});
        match path {
            "/healthz" => {
                healthy &= state.node_eligible;
                body["nodeEligible"] = json!(state.node_eligible);
            }
            "/livez" => {}
            _ => return not_found(),
        }
        let status = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        answer(status, "application/json", body.to_string())
    }

    fn answer_service(&self, port: u16) -> Answer {
        let state = self.state.lock();
        let Some((namespace, name, endpoints)) = state.services.get(&port) else { return not_found() };
        let healthy = self.is_healthy(&state) && state.node_eligible;
        let status = if healthy && *endpoints > 0 { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let body = json!({
            "service": {"namespace": namespace, "name": name},
            "localEndpoints": endpoints,
            "serviceProxyHealthy": healthy,
        });
        let mut answer = answer(status, "application/json", body.to_string());
        answer.headers_mut().insert("X-Load-Balancing-Endpoint-Weight", HeaderValue::from(*endpoints));
        answer
    }
}

/// For each health check port the service and how many ready endpoints it has here.
fn local_endpoints(ports: &[ServicePort]) -> BTreeMap<u16, LocalEndpoints> {
    let mut services: BTreeMap<u16, (&ServicePort, HashSet<Ipv4Addr>)> = BTreeMap::new();
    for port in ports {
        let Some(health_check_port) = port.health_check_port else { continue };
        let (_, endpoints) = services.entry(health_check_port).or_insert((port, HashSet::new()));
        endpoints.extend(port.endpoints.iter().filter(|e| e.local && e.ready).map(|e| e.ip));
    }
    services
        .into_iter()
        .map(|(number, (port, ips))| (number, (port.namespace.clone(), port.service.clone(), ips.len())))
        .collect()
}

/// The listeners of services' health check ports.
pub struct ServiceHealth {
    health: Health,
    tasks: Tasks,
    listeners: HashMap<u16, CancellationToken>,
}

impl ServiceHealth {
    /// No listeners yet.
    pub fn new(health: Health, tasks: Tasks) -> ServiceHealth {
        ServiceHealth { health, tasks, listeners: HashMap::new() }
    }

    /// Opens and closes listeners so that they are those of the service ports. A port that cannot
    /// be bound is tried again with the next change.
    pub fn update(&mut self, ports: &[ServicePort]) {
        let wanted = local_endpoints(ports);
        self.listeners.retain(|port, stop| {
            let keep = wanted.contains_key(port);
            if !keep {
                stop.cancel();
            }
            keep
        });
        for port in wanted.keys().filter(|port| !self.listeners.contains_key(port)).collect::<Vec<_>>() {
            let (health, number, stop) = (self.health.clone(), *port, self.tasks.child());
            let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, number));
            let handler = Arc::new(move |_: &str| health.answer_service(number));
            match listen(&self.tasks, address, stop.clone(), handler) {
                Ok(_) => {
                    self.listeners.insert(number, stop);
                }
                Err(error) => tracing::warn!(port = number, %error, "Cannot listen for health checks"),
            }
        }
        self.health.state.lock().services = wanted;
    }
}

#[cfg(test)]
mod tests;
