//! The control plane as static pods of the first node: of each program an image, made here of it and the libraries it
//! is linked with, and a manifest in the folder that the node's kubelet looks at. Names, labels and probes are
//! kubeadm's.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Store};
use crate::daemons::{self, Daemon, ETCD_HEALTH_PORT};
use crate::supervisor::Record;
use crate::{files, image, load, processes};

/// Loads the images and writes the manifests, while the node's containerd runs. An API server that has had all objects in
/// its memory since before (`runs`) goes on with the files that it has, and the user is told.
pub fn ensure(cluster: &Cluster, runs: bool) -> Result<()> {
    for daemon in daemons::table(cluster) {
        let Some(pod) = &daemon.pod else { continue };
        load::program(cluster, vec![cluster.node(0)], &daemon.name, &image::of_program(pod))?;
    }
    if write_manifests(cluster, runs, |_, _| true)? {
        say!(
            "  The API server has its objects in memory and goes on with the files that it has: only `skiff stop`, which loses them, changes that"
        );
    }
    Ok(())
}

/// Writes the manifests of those whose certificates have changed. Files of the user's are none of its business: they may
/// be half written.
pub fn renew_manifests(cluster: &Cluster) -> Result<()> {
    let renewed = |daemon: &Daemon, before: &str| !before.contains(&digest(&secrets(cluster, daemon)));
    if write_manifests(cluster, true, renewed)? {
        tracing::warn!("The API server keeps its objects in its memory, and its old certificates with them");
    }
    Ok(())
}

/// Writes the manifests that are not as they should be and, given what they are, are `wanted` to be. Says whether that of
/// an API server was left that `runs` with all objects in its memory.
fn write_manifests(cluster: &Cluster, runs: bool, wanted: impl Fn(&Daemon, &str) -> bool) -> Result<bool> {
    let mut left = false;
    for daemon in daemons::table(cluster) {
        let Some(pod) = &daemon.pod else { continue };
        let path = cluster.node(0).manifests_dir().join(format!("{pod}.yaml"));
        let manifest = serde_yaml_ng::to_string(&manifest(cluster, &daemon, pod, &image::of_program(pod)))?;
        let before = fs::read_to_string(&path).unwrap_or_default();
        if before == manifest || !wanted(&daemon, &before) {
            continue;
        }
        if runs && cluster.store == Store::Memory && daemon.name == "apiserver" && !before.is_empty() {
            left = true;
            continue;
        }
        files::replace(&path, manifest.as_bytes(), 0o600)?;
    }
    Ok(left)
}

/// A digest of what is in files.
fn digest<'a>(files: impl IntoIterator<Item = &'a PathBuf>) -> String {
    let content: Vec<u8> = files.into_iter().filter_map(|path| fs::read(path).ok()).flatten().collect();
    image::digest(&content)
}

/// The files of keys and certificates that a daemon is told of.
fn secrets(cluster: &Cluster, daemon: &Daemon) -> BTreeSet<PathBuf> {
    let values = daemon.arguments.iter().filter_map(|argument| argument.rsplit('=').next());
    values.map(PathBuf::from).filter(|path| path.starts_with(cluster.pki_dir())).collect()
}

/// The files that the user names to a daemon, and the folders in which it is to write files.
fn given_paths<'a>(cluster: &'a Cluster, daemon: &Daemon) -> BTreeSet<(&'a Path, bool)> {
    let given = daemon.given(cluster).iter().filter_map(|argument| argument.split_once('='));
    let paths = given.map(|(flag, value)| (Path::new(value), flag.ends_with("-path")));
    let paths = paths.filter(|(path, _)| path.is_absolute() && !path.starts_with(cluster.pki_dir()));
    let mounted =
        |(path, written): (&'a Path, bool)| Some((if written { path.parent()? } else { path }, written));
    paths.filter_map(mounted).collect()
}

/// What of this machine a daemon works with: a volume's name, the path, its type, and whether it is only read.
fn paths(cluster: &Cluster, daemon: &Daemon) -> Vec<(String, PathBuf, &'static str, bool)> {
    let data = match (daemon.name.as_str(), &cluster.store) {
        ("etcd", _) => Some(cluster.etcd_dir()),
        ("apiserver", Store::File(None)) => Some(cluster.control_plane_dir()),
        ("apiserver", Store::File(Some(file))) => file.parent().map(Path::to_owned),
        _ => None,
    };
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().replace('.', "-");
    let secrets = secrets(cluster, daemon).into_iter().map(|path| (name(&path), path, "File", true));
    // Servers beyond the cluster, such as webhooks by URL, show certificates of the world's.
    let of_world = (daemon.name == "apiserver").then(|| PathBuf::from("/etc/ssl/certs"));
    let of_world = of_world.map(|path| ("ca-certs".to_owned(), path, "DirectoryOrCreate", true));
    let data = data.map(|path| ("data".to_owned(), path, "DirectoryOrCreate", false));
    let given = given_paths(cluster, daemon).into_iter().enumerate().map(|(at, (path, written))| {
        let kind = if written { "DirectoryOrCreate" } else { "File" };
        (format!("given-{at}"), path.to_owned(), kind, !written)
    });
    secrets.chain(of_world).chain(data).chain(given).collect()
}

/// Where a daemon tells how it is, and how much CPU it asks for.
fn health_and_cpu(cluster: &Cluster, daemon: &Daemon) -> (Ipv4Addr, u16, &'static str) {
    match daemon.name.as_str() {
        "etcd" => (Ipv4Addr::LOCALHOST, ETCD_HEALTH_PORT, "100m"),
        "apiserver" => (cluster.ranges.control_plane(), 6443, "250m"),
        "scheduler" => (Ipv4Addr::LOCALHOST, 10259, "100m"),
        _ => (Ipv4Addr::LOCALHOST, 10257, "200m"),
    }
}

fn manifest(cluster: &Cluster, daemon: &Daemon, pod: &str, image: &str) -> Value {
    let (host, port, cpu) = health_and_cpu(cluster, daemon);
    let (scheme, live, ready) = match daemon.name.as_str() {
        "etcd" => ("HTTP", "/health", "/health"),
        _ => ("HTTPS", "/livez", "/readyz"),
    };
    let probe = |path: &str, period: u32, failures: u32| {
        let get = json!({"host": host, "port": port, "path": path, "scheme": scheme});
        json!({"httpGet": get, "periodSeconds": period, "failureThreshold": failures, "timeoutSeconds": 15})
    };
    // A file that is replaced is another one in the pod only when that is made anew.
    let paths = paths(cluster, daemon);
    let given = paths.iter().filter(|(name, _, kind, _)| *kind == "File" && name.starts_with("given-"));
    let given = digest(given.map(|(_, path, ..)| path));
    let mounts = paths
        .iter()
        .map(|(name, path, _, read_only)| json!({"name": name, "mountPath": path, "readOnly": read_only}));
    let volumes = paths
        .iter()
        .map(|(name, path, kind, _)| json!({"name": name, "hostPath": {"path": path, "type": kind}}));
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod,
            "namespace": "kube-system",
            "labels": {"component": pod, "tier": "control-plane"},
            "annotations": {"skiff.local/secrets": digest(&secrets(cluster, daemon)), "skiff.local/files": given},
        },
        "spec": {
            "hostNetwork": true,
            "priorityClassName": "system-node-critical",
            "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": pod,
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "command": daemon.command(),
                "resources": {"requests": {"cpu": cpu}},
                "startupProbe": probe(live, 1, 240),
                "livenessProbe": probe(live, 10, 8),
                "readinessProbe": probe(ready, 1, 3),
                "volumeMounts": mounts.collect::<Vec<_>>(),
            }],
            "volumes": volumes.collect::<Vec<_>>(),
        },
    })
}

/// The log of a daemon's latest container, as the node's runtime writes it.
pub fn log(cluster: &Cluster, daemon: &Daemon) -> Option<PathBuf> {
    let (node, pod) = (cluster.node(0), daemon.pod.as_ref()?);
    let begins = format!("kube-system_{pod}-{}_", node.name);
    let of_pods = fs::read_dir(cluster.log_dir(Some(&node)).join("pods")).ok()?.flatten();
    let of_pod = of_pods.filter(|dir| dir.file_name().to_string_lossy().starts_with(&begins));
    let logs = of_pod.filter_map(|dir| fs::read_dir(dir.path().join(pod)).ok()).flatten().flatten();
    let logs = logs.map(|log| log.path()).filter(|log| attempt(log).is_some());
    logs.max_by_key(|log| fs::metadata(log).and_then(|metadata| metadata.modified()).ok())
}

/// How many containers there were before the one of this log.
fn attempt(log: &Path) -> Option<u32> {
    log.file_stem()?.to_str()?.parse().ok()
}

/// How often a daemon's container was started again.
pub fn restarts(cluster: &Cluster, daemon: &Daemon) -> u32 {
    log(cluster, daemon).and_then(|log| attempt(&log)).unwrap_or_default()
}

/// The process of a daemon that runs in its pod.
pub fn record(cluster: &Cluster, daemon: &Daemon) -> Option<Record> {
    let process = processes::with_command_line(&daemon.command()).ok()??;
    Some(Record { process, since: processes::since(process)?, restarts: restarts(cluster, daemon) })
}

#[cfg(test)]
mod tests;
