//! A registry on a host of its own: a network namespace plugged into a cluster's bridge.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use skiff::image::{Image, digest};

use crate::cluster::Cluster;
use crate::http::request;
use crate::wait::eventually;

/// The port that registries listen on.
const PORT: u16 = 5000;
/// Where the registry stands in the cluster's node range.
const HOST: u8 = 200;
/// The name under which image names know it.
pub const NAME: &str = "registry.local:5000";

/// A running registry.
pub struct Registry {
    netns: String,
    address: SocketAddr,
    process: Child,
    _storage: tempfile::TempDir,
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("ip can be started");
    assert!(status.success(), "ip {arguments} failed");
}

fn config(storage: &Path, address: SocketAddr) -> String {
    format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{address}\"}}\n",
        storage.display()
    )
}

impl Registry {
    /// Starts a registry that the nodes of the cluster reach as [`NAME`].
    pub fn start(cluster: &Cluster) -> Registry {
        let described = cluster.description();
        let netns = format!("{}-registry", described.name);
        let link = format!("{}-reg", described.bridge());
        let [a, b, c, _] = described.ranges.nodes.network().octets();
        let address = SocketAddr::new(IpAddr::from([a, b, c, HOST]), PORT);
        ip(&format!("netns add {netns}"));
        ip(&format!("link add {link} type veth peer name eth0 netns {netns}"));
        ip(&format!("link set {link} master {} up", described.bridge()));
        ip(&format!("-n {netns} addr add {}/24 dev eth0", address.ip()));
        ip(&format!("-n {netns} link set eth0 up"));

        let storage = tempfile::tempdir().expect("a temporary folder");
        let file = storage.path().join("config.yml");
        std::fs::write(&file, config(&storage.path().join("data"), address)).expect("a writable folder");
        let process = Command::new("nsenter")
            .arg(format!("--net=/run/netns/{netns}"))
            .args(["docker-registry", "serve"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry can be started");
        let registry = Registry { netns, address, process, _storage: storage };
        eventually("the registry answers", 10, || match request(address, "GET", "/v2/", &[], b"") {
            Ok(answer) if answer.status == 200 => Ok(()),
            other => Err(format!("{other:?}")),
        });
        cluster.skiff(&["up", "--registry", &format!("{NAME}=http://{address}")]);
        registry
    }

    fn put(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> crate::http::Answer {
        let answer = request(self.address, method, path, &[("Content-Type", kind)], body)
            .expect("the registry answers");
        assert!(answer.status < 300, "{method} {path}: {answer:?}");
        answer
    }

    fn push_blob(&self, repository: &str, blob: &[u8]) {
        let begun =
            self.put("POST", &format!("/v2/{repository}/blobs/uploads/"), "application/octet-stream", b"");
        let location = begun.header("Location").expect("an upload has a location");
        let path = location.find("/v2/").map(|at| &location[at..]).expect("a location has a path");
        let joint = if path.contains('?') { '&' } else { '?' };
        self.put("PUT", &format!("{path}{joint}digest={}", digest(blob)), "application/octet-stream", blob);
    }

    /// Pushes an image under its name; returns the name that pods use.
    pub fn push(&self, image: &Image) -> String {
        let (repository, tag) = image.name.split_once(':').expect("a name has a tag");
        self.push_blob(repository, &image.layer);
        self.push_blob(repository, &image.config);
        let (kind, manifest) = image.manifest().expect("a manifest");
        self.put("PUT", &format!("/v2/{repository}/manifests/{tag}"), kind, &manifest);
        format!("{NAME}/{}", image.name)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // All of it may be gone already; the test has its verdict.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = Command::new("ip").args(["netns", "delete", &self.netns]).status();
    }
}
