//! A cluster for one test, and the kubectl that talks to it.

use std::io::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::Signal;
use serde_json::Value;
use skiff::image::Image;
use skiff::processes::Identity;
use skiff::{daemons, processes, supervisor};

use crate::wait::eventually;

/// The folder of the programs under test: `$SKIFF_BIN_DIR`, else where cargo put them.
pub fn bin_dir() -> PathBuf {
    if let Some(dir) = std::env::var_os("SKIFF_BIN_DIR") {
        return dir.into();
    }
    let program = std::env::current_exe().expect("this program has a path");
    let dir = program.parent().expect("a program lies in a folder");
    if dir.ends_with("deps") {
        dir.parent().expect("deps lies in a folder").to_owned()
    } else {
        dir.to_owned()
    }
}

/// What a kubectl command did.
#[derive(Debug)]
pub struct Kubectl {
    /// The command, for messages.
    pub line: String,
    /// Its exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Kubectl {
    /// The output of a command that must have succeeded.
    pub fn ok(self) -> String {
        assert!(self.code == 0, "kubectl {} failed with {}: {}{}", self.line, self.code, self.out, self.err);
        self.out
    }

    /// What a command that must have failed said.
    pub fn refused(self) -> String {
        assert!(self.code != 0, "kubectl {} was not refused: {}", self.line, self.out);
        self.err
    }
}

/// A cluster that lives as long as this value.
pub struct Cluster {
    name: String,
    /// Let go before the folder is removed.
    _disk: Option<Disk>,
    root: tempfile::TempDir,
}

/// A folder with a short path: sockets are below it.
fn folder() -> tempfile::TempDir {
    let mut folder = tempfile::Builder::new();
    folder.prefix("skiff-").rand_bytes(5).tempdir_in("/tmp").expect("/tmp is writable")
}

/// A small disk in memory.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path, bytes: u64) -> Self {
        let size = format!("size={bytes}");
        mount(Some("skiff"), at, Some("tmpfs"), MsFlags::empty(), Some(size.as_str()))
            .expect("root may mount");
        Self(at.to_owned())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Err(error) = umount2(&self.0, MntFlags::MNT_DETACH) {
            eprintln!("cannot take away the disk at {}: {error}", self.0.display());
        }
    }
}

impl Cluster {
    /// Brings a cluster up. `label` begins its name; it must be short.
    pub fn up(label: &str, nodes: u8) -> Cluster {
        Self::up_with(label, nodes, &[])
    }

    /// Brings a cluster up with further flags, and without the pods that clusters have by themselves: most tests have
    /// no use for them.
    pub fn up_with(label: &str, nodes: u8, flags: &[&str]) -> Cluster {
        Self::up_whole(label, nodes, &[flags, &["--without", "dns,ingress,metrics-server"]].concat())
    }

    /// Brings a cluster up as users do, with further flags.
    pub fn up_whole(label: &str, nodes: u8, flags: &[&str]) -> Cluster {
        Self::up_in(folder(), None, label, nodes, flags)
    }

    /// Brings up one node on a disk of so many bytes, with its objects in memory.
    pub fn up_on_disk(label: &str, bytes: u64) -> Cluster {
        let root = folder();
        let disk = Disk::mount(root.path(), bytes);
        let flags = ["--store", "memory", "--without", "dns,ingress,metrics-server"];
        Self::up_in(root, Some(disk), label, 1, &flags)
    }

    fn up_in(root: tempfile::TempDir, disk: Option<Disk>, label: &str, nodes: u8, flags: &[&str]) -> Cluster {
        let cluster = Cluster { name: format!("{label}-{}", std::process::id()), _disk: disk, root };
        let nodes = nodes.to_string();
        let mut all = vec!["up", "--nodes", &nodes, "--no-outbound"];
        all.extend(flags);
        cluster.skiff(&all);
        cluster
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder below which it lies.
    pub fn root(&self) -> &std::path::Path {
        self.root.path()
    }

    /// The name of the node with this number, from 1.
    pub fn node(&self, number: u8) -> String {
        self.description().node(number - 1).name
    }

    /// The address of the node with this number, from 1.
    pub fn node_address(&self, number: u8) -> Ipv4Addr {
        self.description().node(number - 1).address
    }

    /// The cluster as it describes itself.
    pub fn description(&self) -> skiff::cluster::Cluster {
        let dir = self.root.path().join(&self.name);
        skiff::cluster::Cluster::load(&dir).expect("a readable description").expect("the cluster is there")
    }

    /// Its kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.root.path().join("kubeconfig")
    }

    /// Runs `skiff VERB --name … --root … ARGUMENTS` without judging the outcome.
    pub fn try_skiff(&self, arguments: &[&str]) -> Output {
        let (verb, rest) = arguments.split_first().expect("a verb");
        let mut command = Command::new(bin_dir().join("skiff"));
        command
            .env("SKIFF_BIN_DIR", bin_dir())
            .env("KUBECONFIG", self.kubeconfig())
            .env("HOME", self.root.path());
        command.args([verb, "--name", &self.name, "--root"]).arg(self.root.path()).args(rest);
        command.output().expect("skiff can be started")
    }

    /// Runs `skiff`, which must succeed, and returns what it printed.
    pub fn skiff(&self, arguments: &[&str]) -> String {
        let output = self.try_skiff(arguments);
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "skiff {} failed: {text}", arguments.join(" "));
        text
    }

    /// A kubectl that has not been started, for those who need more than what it says in the end.
    pub fn kubectl_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command.env("KUBECONFIG", self.kubeconfig()).env("HOME", self.root.path()).args(arguments);
        command
    }

    fn kubectl_with(&self, arguments: &[&str], input: Option<&[u8]>) -> Kubectl {
        let mut command = self.kubectl_command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("kubectl can be started");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        // kubectl may end before it has read everything.
        let _ = stdin.write_all(input.unwrap_or_default());
        drop(stdin);
        let output = child.wait_with_output().expect("kubectl ends");
        Kubectl {
            line: arguments.join(" "),
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Types a kubectl command whose words contain no blanks.
    pub fn kubectl(&self, line: &str) -> Kubectl {
        self.kubectl_with(&line.split_whitespace().collect::<Vec<_>>(), None)
    }

    /// Types a kubectl command.
    pub fn kubectl_words(&self, words: &[&str]) -> Kubectl {
        self.kubectl_with(words, None)
    }

    /// Types a kubectl command and feeds it.
    pub fn kubectl_fed(&self, line: &str, input: &str) -> Kubectl {
        self.kubectl_with(&line.split_whitespace().collect::<Vec<_>>(), Some(input.as_bytes()))
    }

    /// `kubectl apply -f -` of a manifest.
    pub fn apply(&self, manifest: &str) -> String {
        self.kubectl_fed("apply -f -", manifest).ok()
    }

    /// `kubectl … -o json`, parsed.
    pub fn json(&self, line: &str) -> Value {
        let text = self.kubectl(&format!("{line} -o json")).ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("kubectl {line}: {error}: {text}"))
    }

    /// The items of `kubectl get …`.
    pub fn items(&self, line: &str) -> Vec<Value> {
        self.json(line)["items"].as_array().cloned().unwrap_or_default()
    }

    /// Loads images into all nodes as `skiff load` does.
    pub fn load(&self, images: &[Image]) {
        for image in images {
            let file = self.root.path().join("image.tar");
            std::fs::write(&file, image.archive().expect("an image can be packed"))
                .expect("a writable folder");
            self.skiff(&["load", &file.to_string_lossy()]);
        }
    }

    /// The process of a daemon (`apiserver`, `node-1/kubelet` with the node's full name).
    pub fn daemon(&self, name: &str) -> Identity {
        let cluster = self.description();
        let table = daemons::table(&cluster);
        let daemon =
            table.iter().find(|daemon| daemon.name == name).unwrap_or_else(|| panic!("{name} is no daemon"));
        eventually(&format!("{name} runs"), 30, || {
            let record = supervisor::record_of(&cluster, daemon).ok_or("no record")?;
            processes::runs(record.process)
                .then_some(record.process)
                .ok_or_else(|| "it does not run".to_owned())
        })
    }

    /// Sends a signal to a daemon.
    pub fn signal(&self, name: &str, signal: Signal) -> Identity {
        let process = self.daemon(name);
        processes::signal(process, signal).expect("a signal can be sent");
        process
    }

    /// Kills a daemon and waits until another one has taken its place.
    pub fn kill(&self, name: &str) {
        let killed = self.signal(name, Signal::SIGKILL);
        eventually(&format!("{name} is back"), 30, || match self.daemon(name) {
            process if process != killed => Ok(()),
            _ => Err("the old one still runs".into()),
        });
    }

    /// All daemons of the cluster.
    pub fn daemons(&self) -> Vec<String> {
        daemons::table(&self.description()).into_iter().map(|daemon| daemon.name).collect()
    }

    fn show_state(&self) {
        eprintln!("--- the cluster {} when the test failed", self.name);
        for line in [
            "get nodes,deployments,replicasets,pods,services -A -o wide",
            "get events -A --sort-by=.lastTimestamp",
        ] {
            let seen = self.kubectl(&format!("{line} --request-timeout=3s"));
            eprintln!("$ kubectl {line}\n{}{}", seen.out, seen.err);
        }
        let status = self.try_skiff(&["status"]);
        eprintln!("{}", String::from_utf8_lossy(&status.stdout));
        for daemon in self.daemons().iter().map(String::as_str).chain([daemons::SUPERVISOR]) {
            let log = self.try_skiff(&["logs", daemon]);
            let text = String::from_utf8_lossy(&log.stdout).into_owned();
            let lines: Vec<&str> = text
                .lines()
                .filter(|line| !line.contains("level\":\"info") && !line.contains("level=info"))
                .collect();
            eprintln!("--- {daemon}\n{}", lines[lines.len().saturating_sub(15)..].join("\n"));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let there = self.root.path().join(&self.name).join("cluster.json").exists();
        if std::thread::panicking() && there {
            self.show_state();
        }
        let output = self.try_skiff(&["down"]);
        if !output.status.success() {
            eprintln!("skiff down failed: {}", String::from_utf8_lossy(&output.stderr));
            assert!(std::thread::panicking(), "skiff down failed");
        }
    }
}
