//! `skiff down` and `skiff stop`: take a cluster away, or only what runs of it.
//!
//! Works from what is there, not from what should be: after a kill of
//! everything, after a reboot, or the second time, it finds what is left.

use std::path::Path;

use anyhow::{Context, Result};

use crate::args::ClusterArgs;
use crate::cluster::{self, Cluster, Store};
use crate::{
    cgroups, cni_cache, containerd, files, firewall, kubeconfig, machine, network, processes, registration,
    supervisor,
};

/// Ends processes and removes all that does not outlive a boot.
fn halt(cluster: &Cluster) -> Result<()> {
    supervisor::stop(cluster)?;
    let nodes = cluster.all_nodes();
    let sockets: Vec<_> = nodes.iter().flat_map(containerd::shim_sockets).collect();
    processes::kill_all(cluster)?;
    sockets.iter().try_for_each(|socket| files::remove(socket))?;
    processes::unmount_below(&cluster.dir)?;
    firewall::remove(cluster)?;
    network::remove(cluster)?;
    cgroups::remove(cluster)?;
    // containerd keeps here what described running containers: none runs any more.
    for node in nodes {
        files::remove_tree(&node.containerd_state())?;
        files::remove_tree(&node.dir.join("run"))?;
    }
    files::remove_tree(&cluster.run_dir())
}

/// Stops the cluster and keeps its data.
pub fn stop(flags: &ClusterArgs) -> Result<()> {
    machine::must_be_root()?;
    let cluster = flags.existing()?;
    halt(&cluster)?;
    network::close(&cluster)?;
    say!("{}", stopped(&cluster));
    Ok(())
}

/// What is left of a cluster that was stopped.
fn stopped(cluster: &Cluster) -> String {
    let name = &cluster.name;
    match cluster.store {
        Store::Memory => format!(
            "Cluster {name} is stopped. Its objects were in memory and are gone; `skiff up --name {name}` brings it back empty"
        ),
        _ => format!("Cluster {name} is stopped; `skiff up --name {name}` brings it back"),
    }
}

/// Removes the cluster. One that is not there is no failure.
pub fn down(flags: &ClusterArgs) -> Result<()> {
    cluster::check_name(&flags.name)?;
    let dir = flags.dir();
    let Some(cluster) = Cluster::load(&dir)? else {
        say!("Nothing to do: {}", flags.missing());
        return Ok(());
    };
    machine::must_be_root()?;
    remove(&cluster)
        .with_context(|| format!("something of {} is left: type skiff down again", cluster.name))?;
    say!("Cluster {} is gone", cluster.name);
    Ok(())
}

fn remove(cluster: &Cluster) -> Result<()> {
    halt(cluster)?;
    cni_cache::remove(cluster)?;
    if let Err(e) = kubeconfig::remove(&cluster.kubeconfig, &cluster.context()) {
        say!("The context {} is left in your kubeconfig: {e:#}", cluster.context());
    }
    let lock = registration::lock()?;
    empty(&cluster.dir)?;
    registration::forget(&cluster.name, &cluster.dir, &lock)?;
    files::remove_tree(&cluster.dir)?;
    if let Some(root) = cluster.dir.parent() {
        // Another cluster may lie there; then it stays.
        let _ = std::fs::remove_dir(root);
    }
    Ok(())
}

/// Removes everything but the description, which says what else to remove should this be cut short.
fn empty(dir: &Path) -> Result<()> {
    let entries = std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read {}", dir.display()))?;
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        match entry.file_name().to_str() {
            Some("cluster.json") => {}
            _ if is_dir => files::remove_tree(&entry.path())?,
            _ => files::remove(&entry.path())?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
