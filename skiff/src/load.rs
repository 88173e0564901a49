//! `skiff load`: image archives into all nodes of a cluster. And the images of our own programs, which are made here.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::args::LoadArgs;
use crate::cluster::{Cluster, Node};
use crate::image::{ImageFile, Recipe};
use crate::{containerd, files, image, machine, supervisor};

/// Loads archives into nodes, all at the same time: most of it is waiting for the disk.
pub fn into(cluster: &Cluster, nodes: &[Node], archives: &[PathBuf]) -> Result<()> {
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

/// An image that holds nothing but a program, and the libraries it is linked with: its archive.
fn archive_of(cluster: &Cluster, program: &str, name: &str) -> Result<Vec<u8>> {
    let file = machine::program_path(&cluster.bin_dir, program);
    let file = file.with_context(|| format!("the program {program} is gone"))?;
    let part = |path: &str, file: &Path| {
        let content = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        anyhow::Ok(ImageFile { path: path.trim_start_matches('/').to_owned(), content, mode: 0o755 })
    };
    let libraries = machine::libraries(&file)?;
    let libraries = libraries.iter().map(|library| part(&library.to_string_lossy(), library));
    let recipe = Recipe {
        name: name.into(),
        files: std::iter::once(part(program, &file)).chain(libraries).collect::<Result<_>>()?,
        entrypoint: vec![format!("/{program}")],
        ..Recipe::default()
    };
    recipe.build()?.archive()
}

/// Has nodes hold the image of one of our programs. What was loaded last lies in the cluster's folder: while that is the
/// same, nodes that know an image of the name have this one.
///
/// # Errors
/// A program that is not there, a node that does not take it.
pub fn program(cluster: &Cluster, nodes: Vec<Node>, program: &str, name: &str) -> Result<()> {
    let archive = archive_of(cluster, program, name)?;
    let loaded = cluster.dir.join(format!("{program}.tar"));
    let same = fs::read(&loaded).is_ok_and(|loaded| loaded == archive);
    let lacking: Vec<Node> =
        nodes.into_iter().filter(|node| !same || !containerd::knows(node, name)).collect();
    if lacking.is_empty() {
        return Ok(());
    }
    let loading = loaded.with_extension("loading");
    files::replace(&loading, &archive, 0o644)?;
    into(cluster, &lacking, std::slice::from_ref(&loading))?;
    fs::rename(&loading, &loaded).with_context(|| format!("cannot write {}", loaded.display()))
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
    into(&cluster, &cluster.all_nodes(), &archives)?;
    let nodes: Vec<String> = cluster.all_nodes().into_iter().map(|node| node.name).collect();
    say!("Loaded into {}:\n  {}", nodes.join(", "), names.join("\n  "));
    Ok(())
}

#[cfg(test)]
mod tests;
