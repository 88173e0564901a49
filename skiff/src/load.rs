//! `skiff load`: image archives into all nodes of a cluster.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::args::LoadArgs;
use crate::cluster::Cluster;
use crate::{containerd, image, supervisor};

/// Loads archives into every node, all at the same time: most of it is waiting for the disk.
pub fn into_all(cluster: &Cluster, archives: &[PathBuf]) -> Result<()> {
    let nodes = cluster.all_nodes();
    let jobs = nodes.iter().flat_map(|node| {
        archives.iter().map(move |archive| move || containerd::import(cluster, node, archive))
    });
    std::thread::scope(|scope| {
        let threads: Vec<_> = jobs.map(|import| scope.spawn(import)).collect();
        let results: Vec<Result<()>> = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect();
        results.into_iter().collect()
    })
}

fn absolute(path: &Path) -> Result<PathBuf> {
    Ok(std::path::absolute(path)?)
}

/// Fails if there is no containerd to load into.
fn must_run(cluster: &Cluster) -> Result<()> {
    let name = &cluster.name;
    ensure!(supervisor::any_runs(cluster), "{name} is stopped: `skiff up --name {name}` brings it back");
    Ok(())
}

/// Loads what the flags say.
pub fn run(flags: &LoadArgs) -> Result<()> {
    let cluster = flags.cluster.existing()?;
    let mut names = Vec::new();
    for archive in &flags.images {
        names.extend(image::names_in(archive)?);
    }
    names.sort();
    names.dedup();
    must_run(&cluster)?;
    let archives: Vec<PathBuf> = flags.images.iter().map(|path| absolute(path)).collect::<Result<_>>()?;
    into_all(&cluster, &archives)?;
    let nodes: Vec<String> = cluster.all_nodes().into_iter().map(|node| node.name).collect();
    say!("Loaded into {}:\n  {}", nodes.join(", "), names.join("\n  "));
    Ok(())
}

#[cfg(test)]
mod tests;
