//! The pod network plugin that the container runtime runs for each sandbox.
//!
//! `run` reads one request, carries it out on the node of the current thread's network
//! namespace, and returns what goes to stdout. State on disk is written before the kernel is
//! touched and freed after; DEL and GC succeed on whatever is left. Upstream: the plugins
//! `bridge`, `host-local`, `portmap` and `loopback`, here in one call.

mod allocation;
mod config;
mod error;
mod host_ports;
mod interface;
mod loopback;
mod result;

use std::collections::HashSet;
use std::path::PathBuf;

use serde_json::{Value, json};

use allocation::Allocations;
pub use config::{Attachment, Command, Network, PortMapping, Request};
pub use error::CniError;

use crate::netlink::Netlink;

/// The type (file name) of the plugin in configuration lists.
pub const PLUGIN_TYPE: &str = "skiff-cni";

/// Reads a request and carries it out. Returns what to print and whether it is a success.
pub async fn run(env: impl Fn(&str) -> Option<String>, stdin: &[u8]) -> (Option<Value>, bool) {
    if let Some(version) = loopback::asked(stdin) {
        let netns = env("CNI_NETNS").filter(|path| !path.is_empty()).map(PathBuf::from);
        let command = env("CNI_COMMAND").unwrap_or_default();
        return finish(&version, loopback::run(&version, &command, netns.as_deref()));
    }
    let request = config::parse(env, stdin);
    let version = match &request {
        Ok(request) => request.network.cni_version.clone(),
        // An error is given in the version asked for, if that much can be read.
        Err(_) => serde_json::from_slice::<Value>(stdin)
            .ok()
            .and_then(|value| value["cniVersion"].as_str().map(str::to_owned))
            .unwrap_or_else(|| "1.0.0".to_owned()),
    };
    let outcome = match request {
        Ok(request) => execute(request).await,
        Err(error) => Err(error),
    };
    finish(&version, outcome)
}

fn finish(version: &str, outcome: Result<Option<Value>, CniError>) -> (Option<Value>, bool) {
    match outcome {
        Ok(value) => (value, true),
        Err(error) => {
            let mut value = json!(error);
            value["cniVersion"] = json!(version);
            (Some(value), false)
        }
    }
}

/// Carries a checked request out.
pub async fn execute(request: Request) -> Result<Option<Value>, CniError> {
    let Request { command, attachment, netns, network } = request;
    let attachment = || {
        attachment
            .ok_or_else(|| CniError::new(CniError::INVALID_ENVIRONMENT, "the request names no container", ""))
    };
    let netns = || {
        netns
            .ok_or_else(|| CniError::new(CniError::INVALID_ENVIRONMENT, "the request names no namespace", ""))
    };
    match command {
        Command::Version => Ok(Some(result::versions())),
        Command::Add => add(&network, &attachment()?, &netns()?).await.map(Some),
        Command::Del => delete(&network, &attachment()?).await.map(|()| None),
        Command::Check => check(&network, &attachment()?, &netns()?).await.map(|()| None),
        Command::Status => status(&network).map(|()| None),
        Command::Gc => collect(&network).await.map(|()| None),
    }
}

async fn add(network: &Network, attachment: &Attachment, netns: &std::path::Path) -> Result<Value, CniError> {
    let range = network.range()?;
    let key = attachment.key();
    let ports: Vec<PortMapping> =
        network.runtime_config.port_mappings.iter().filter(|port| port.host_port != 0).cloned().collect();
    let node = interface::connect()?;
    let (ip, bridge) = {
        let mut all = Allocations::open(&network.data_dir, &network.name)?;
        let ip = all.take(&key, range, netns, ports.clone())?;
        let bridge = interface::ensure_bridge(&node, network).await;
        let ready = match (bridge, ports.is_empty()) {
            (Ok(bridge), false) => open_ports(&node, &all, &key, network).await.map(|()| bridge),
            (bridge, _) => bridge,
        };
        match ready {
            Ok(bridge) => (ip, bridge),
            Err(error) => {
                return match all.release(&key) {
                    Ok(_) => Err(error),
                    Err(left) => Err(error.with_leftovers(&left)),
                };
            }
        }
    };
    match interface::wire(&node, network, &bridge, attachment, netns, ip).await {
        Ok(wired) => Ok(result::render(&network.cni_version, netns, &wired)),
        Err(error) => {
            // The runtime will call DEL too; should it not, at least nothing is lost.
            match delete(network, attachment).await {
                Ok(()) => Err(error),
                Err(left) => Err(error.with_leftovers(&left)),
            }
        }
    }
}

/// Leads a new holding's host ports to it.
async fn open_ports(node: &Netlink, all: &Allocations, key: &str, network: &Network) -> Result<(), CniError> {
    host_ports::apply(&all.table, &network.bridge)?;
    match all.table.holdings.get(key) {
        Some(holding) => host_ports::forget_connections(holding, &interface::addresses(node).await?),
        None => Ok(()),
    }
}

async fn delete(network: &Network, attachment: &Attachment) -> Result<(), CniError> {
    interface::unwire(&interface::connect()?, attachment).await?;
    let mut all = Allocations::open(&network.data_dir, &network.name)?;
    match all.release(&attachment.key())? {
        Some(held) if !held.ports.is_empty() => {
            host_ports::apply(&all.table, &network.bridge)?;
            host_ports::forget_connections(&held, &[])
        }
        _ => Ok(()),
    }
}

async fn check(network: &Network, attachment: &Attachment, netns: &std::path::Path) -> Result<(), CniError> {
    let held = {
        let all = Allocations::open(&network.data_dir, &network.name)?;
        all.table.holdings.get(&attachment.key()).map(|holding| holding.ip)
    };
    let ip = held.ok_or_else(|| {
        let why = format!("{} holds no address", attachment.key());
        CniError::new(CniError::CHECK_FAILED, "the pod's network is damaged", why)
    })?;
    interface::check(&interface::connect()?, network, attachment, netns, ip).await
}

fn status(network: &Network) -> Result<(), CniError> {
    let unavailable =
        |error: CniError| CniError::new(CniError::NOT_AVAILABLE, "the plugin cannot wire pods now", error);
    network.range().map_err(unavailable)?;
    Allocations::open(&network.data_dir, &network.name).map(drop).map_err(unavailable)
}

async fn collect(network: &Network) -> Result<(), CniError> {
    let valid: HashSet<String> = match &network.valid_attachments {
        Some(list) => list
            .iter()
            .map(|v| Attachment { container_id: v.container_id.clone(), if_name: v.ifname.clone() }.key())
            .collect(),
        None => {
            return Err(CniError::new(
                CniError::INVALID_CONFIG,
                "GC needs the valid attachments",
                "the configuration has no cni.dev/valid-attachments",
            ));
        }
    };
    let node = interface::connect()?;
    let mut all = Allocations::open(&network.data_dir, &network.name)?;
    let gone: Vec<String> = all.table.holdings.keys().filter(|key| !valid.contains(*key)).cloned().collect();
    let mut released = Vec::new();
    for key in gone {
        if let Some((container_id, if_name)) = key.rsplit_once('/') {
            let attachment = Attachment { container_id: container_id.into(), if_name: if_name.into() };
            interface::unwire(&node, &attachment).await?;
        }
        released.extend(all.release(&key)?.filter(|holding| !holding.ports.is_empty()));
    }
    if !released.is_empty() {
        host_ports::apply(&all.table, &network.bridge)?;
    }
    released.iter().try_for_each(|holding| host_ports::forget_connections(holding, &[]))
}
