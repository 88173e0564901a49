//! `skiff status`: the daemons and nodes of a cluster, and where its services answer on this machine.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Result;
use api::load_balancer;
use k8s_openapi::api::core::v1::{Node, Service};
use kube::Api;
use kube::api::ListParams;

use crate::args::ClusterArgs;
use crate::cluster::Cluster;
use crate::{addons, daemons, pki, processes, supervisor};

/// What `--no-outbound` did.
pub const SHUT_IN: &str = "Pods and nodes reach nothing beyond this machine (--no-outbound).";
/// How long the API server may take to tell its nodes.
const PATIENCE: Duration = Duration::from_secs(3);

/// A time span as kubectl shows ages.
fn age(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{}s", seconds.max(0)),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Rows as columns that line up.
fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("   ");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn row(name: &str, record: Option<supervisor::Record>, now: jiff::Timestamp) -> Vec<String> {
    match record {
        Some(record) if processes::runs(record.process) => {
            let uptime = age(now.as_second() - record.since.as_second());
            vec![
                name.into(),
                "running".into(),
                record.process.pid.to_string(),
                uptime,
                record.restarts.to_string(),
            ]
        }
        Some(record) => {
            vec![name.into(), "stopped".into(), "-".into(), "-".into(), record.restarts.to_string()]
        }
        None => vec![name.into(), "stopped".into(), "-".into(), "-".into(), "-".into()],
    }
}

fn node_row(cluster: &Cluster, node: &Node) -> Vec<String> {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions.into_iter().flatten().find(|condition| condition.type_ == "Ready");
    let state = match ready.map(|condition| condition.status.as_str()) {
        Some("True") => "Ready",
        Some("False") => "NotReady",
        _ => "Unknown",
    };
    let (pods, address) = match supervisor::pod_route(&cluster.ranges, node, &[]) {
        Ok(Some((pods, address))) => (pods.to_string(), address.to_string()),
        Ok(None) | Err(_) => ("-".into(), "-".into()),
    };
    vec![node.metadata.name.clone().unwrap_or_default(), state.into(), address, pods]
}

/// A row for each port of a service that is reached from outside: by its load balancer's addresses, or else by a node's.
fn service_rows(cluster: &Cluster, service: &Service) -> Vec<Vec<String>> {
    let (meta, spec) = (&service.metadata, service.spec.as_ref());
    let balancers: Vec<Ipv4Addr> = load_balancer::addresses(service).collect();
    let mut rows = Vec::new();
    for port in spec.iter().flat_map(|spec| spec.ports.iter().flatten()) {
        let (addresses, number) = match (balancers.is_empty(), port.node_port) {
            (false, _) => (balancers.clone(), port.port),
            (true, Some(number)) => (vec![cluster.ranges.node_address(0)], number),
            (true, None) => continue,
        };
        rows.extend(addresses.into_iter().map(|address| {
            let name = format!(
                "{}/{}",
                meta.namespace.as_deref().unwrap_or_default(),
                meta.name.as_deref().unwrap_or_default()
            );
            let at = match port.protocol.as_deref() {
                None | Some("TCP") => format!("http://{address}:{number}"),
                Some(other) => format!("{address}:{number} ({other})"),
            };
            vec![name, at]
        }));
    }
    rows
}

async fn ask(cluster: &Cluster) -> Result<(Vec<Node>, Vec<Service>)> {
    let client = machinery::client::connect(&cluster.kubeconfig_of(pki::ADMIN), "skiff")?;
    let nodes = Api::<Node>::all(client.clone()).list(&ListParams::default()).await?.items;
    Ok((nodes, services(&client).await?))
}

async fn services(client: &kube::Client) -> Result<Vec<Service>> {
    Ok(Api::<Service>::all(client.clone()).list(&ListParams::default()).await?.items)
}

/// Where services and Ingresses answer on this machine; nothing when none does.
fn answering(cluster: &Cluster, services: &[Service]) -> String {
    let mut rows = vec![["SERVICE", "ANSWERS AT"].map(String::from).to_vec()];
    rows.extend(services.iter().flat_map(|service| service_rows(cluster, service)));
    let table = if rows.len() == 1 { String::new() } else { format!("\n{}", columns(&rows)) };
    let urls = addons::ingress_urls(cluster, services);
    table + &urls.map(|urls| format!("\nIngresses answer at {urls}\n")).unwrap_or_default()
}

/// Says where the services of a cluster that has just come up answer, and will.
pub async fn tell_services(cluster: &Cluster, client: &kube::Client) {
    say!("\nServices of type LoadBalancer answer here, at addresses of {}.", cluster.ranges.load_balancers());
    // It is told as a kindness.
    let listed = tokio::time::timeout(PATIENCE, services(client)).await;
    print!("{}", answering(cluster, &listed.ok().and_then(Result::ok).unwrap_or_default()));
}

/// Shows the cluster; a supervisor that was killed is started again.
pub async fn run(flags: &ClusterArgs) -> Result<()> {
    let cluster = flags.existing()?;
    let table = daemons::table(&cluster);
    let records: Vec<_> = table.iter().map(|daemon| supervisor::record_of(&cluster, daemon)).collect();
    let alive = supervisor::any_runs(&cluster);
    let lost = alive && supervisor::running(&cluster).is_none();
    say!("Cluster {} in {}, API server {}\n", cluster.name, cluster.dir.display(), cluster.server());
    if !cluster.outbound {
        say!("{SHUT_IN}\n");
    }
    let now = machinery::clock::now();
    let mut rows = vec![["DAEMON", "STATE", "PID", "UPTIME", "RESTARTS"].map(String::from).to_vec()];
    rows.extend(table.iter().zip(records).map(|(daemon, record)| row(&daemon.name, record, now)));
    rows.push(row(daemons::SUPERVISOR, supervisor::running(&cluster), now));
    print!("{}", columns(&rows));
    if lost {
        match supervisor::ensure(&cluster) {
            Ok(_) => say!("\nThe supervisor was gone and has been started again"),
            Err(e) => say!("\nThe supervisor is gone: {e:#}"),
        }
    }
    if !alive {
        say!("\nNothing runs: `skiff up --name {}` brings the cluster back", cluster.name);
        return Ok(());
    }
    match tokio::time::timeout(PATIENCE, ask(&cluster)).await {
        Ok(Ok((nodes, services))) => {
            let mut rows = vec![["NODE", "STATE", "ADDRESS", "PODS"].map(String::from).to_vec()];
            rows.extend(nodes.iter().map(|node| node_row(&cluster, node)));
            print!("\n{}{}", columns(&rows), answering(&cluster, &services));
        }
        Ok(Err(e)) => say!("\nThe API server does not tell its nodes: {e:#}"),
        Err(_) => say!("\nThe API server does not answer"),
    }
    Ok(())
}

#[cfg(test)]
mod tests;
