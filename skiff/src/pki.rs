//! The cluster's certificates, keys and kubeconfigs, below `pki/`.
//!
//! What is there and still says what it should is kept, so that a cluster that
//! comes back knows its daemons and its users' kubeconfigs stay good. Certificates hold for a year and are renewed before,
//! also while the cluster runs; daemons see that. Corresponds to kubeadm's phases `certs` and `kubeconfig`.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use machinery::pki::{self, Authority, IssueRequest, KUBELET_API_ADMIN, KUBELET_CLIENT, Key};

use crate::cluster::{Cluster, ControlPlane, Node};
use crate::files;
use crate::kubeconfig::{self, Identity};

/// The authority of servers: the API server, kubelets. All who call one know it.
pub const CA: &str = "ca";
/// The authority of clients: a server that it vouches for is nobody's user, and no client can be taken for a server.
pub const CLIENT_CA: &str = "client-ca";
/// The kubeconfig of the person who runs the cluster.
pub const ADMIN: &str = "admin";

/// The authority by whose certificates servers behind the API server know it, and the one that the API server has.
pub const FRONT_PROXY_CA: &str = "front-proxy-ca";
/// Name and files of that.
pub const FRONT_PROXY: &str = "front-proxy-client";
/// The kubeconfig of the supervisor.
pub const SUPERVISOR: &str = "supervisor";

/// A certificate's file and its key's.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// The files of the certificate called `name`.
pub fn pair(cluster: &Cluster, name: &str) -> Pair {
    let dir = cluster.pki_dir();
    Pair { cert: dir.join(format!("{name}.crt")), key: dir.join(format!("{name}.key")) }
}

/// The public and the private key that service account tokens are signed with.
pub fn service_account_keys(cluster: &Cluster) -> (PathBuf, PathBuf) {
    (cluster.pki_dir().join("sa.pub"), cluster.pki_dir().join("sa.key"))
}

/// The name of a node's certificates and kubeconfig.
pub fn kubelet(node: &Node) -> String {
    format!("kubelet-{}", node.name)
}

/// The servers' certificates: name and request.
fn servers(cluster: &Cluster) -> Vec<(String, IssueRequest)> {
    let ranges = &cluster.ranges;
    let names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
    ];
    let addresses =
        [ranges.control_plane(), ranges.kubernetes_service(), Ipv4Addr::LOCALHOST].map(IpAddr::V4);
    let apiserver = IssueRequest::server("kube-apiserver", &names, &addresses);
    let mut all = vec![("apiserver".to_owned(), apiserver)];
    for node in cluster.all_nodes() {
        let user = format!("system:node:{}", node.name);
        // No loopback: whoever finds itself at the other end of a call to a kubelet has not reached one.
        let mut request = IssueRequest::server(&user, &[&node.name], &[IpAddr::V4(node.address)]);
        request.organizations = vec!["system:nodes".into()];
        all.push((format!("{}-server", kubelet(&node)), request));
    }
    all
}

/// The clients: name, user, groups.
fn clients(cluster: &Cluster) -> Vec<(String, IssueRequest)> {
    let client =
        |name: &str, user: &str, groups: &[&str]| (name.to_owned(), IssueRequest::client(user, groups));
    let mut all = vec![
        client(ADMIN, "kubernetes-admin", &[machinery::pki::MASTERS]),
        client("scheduler", "system:kube-scheduler", &[]),
        client("controller-manager", "system:kube-controller-manager", &[]),
        client("proxy", "system:kube-proxy", &[]),
        client(SUPERVISOR, "skiff:supervisor", &[]),
    ];
    for node in cluster.all_nodes() {
        all.push(client(&kubelet(&node), &format!("system:node:{}", node.name), &["system:nodes"]));
    }
    all
}

/// An authority, who has it issue certificates, and when that is.
struct Issuing<'a> {
    authority: Authority,
    /// Nothing that it signed can be there yet.
    is_new: bool,
    cluster: &'a Cluster,
    now: Timestamp,
}

/// What helps a cluster whose authority is not whole.
const BACK: &str = "put back what was there, or take the cluster down and up again";

/// After this share of its life a certificate is issued anew: four months before its end.
const RENEWED_AFTER: f64 = 2.0 / 3.0;

impl<'a> Issuing<'a> {
    fn by(name: &str, common_name: &str, cluster: &'a Cluster, now: Timestamp) -> Result<Self> {
        let files = pair(cluster, name);
        for (lost, left) in [(&files.cert, &files.key), (&files.key, &files.cert)] {
            let both = lost.exists() || !left.exists();
            // A new one would be strange to all who trust this one: daemons, pods, kubeconfigs.
            ensure!(
                both,
                "{} is gone, without which {} is of no use: {BACK}",
                lost.display(),
                left.display()
            );
        }
        let is_new = !files.cert.exists();
        let authority = Authority::load_or_new(common_name, &files.cert, &files.key)
            .with_context(|| format!("cannot use the authority {name}"))?;
        ensure!(
            matches(&files),
            "{} is not the key of {}: {BACK}",
            files.key.display(),
            files.cert.display()
        );
        Ok(Self { authority, is_new, cluster, now })
    }

    /// Sees to it that there is a certificate that says what it should, and will for a while.
    fn issue(&self, name: &str, request: &IssueRequest) -> Result<Pair> {
        let files = pair(self.cluster, name);
        let is_fine = |cert: Vec<u8>| {
            let due = pki::at_share(&cert, RENEWED_AFTER);
            request.is_met_by(&cert) && due.is_some_and(|due| self.now < due)
        };
        if !self.is_new && matches(&files) && fs::read(&files.cert).is_ok_and(is_fine) {
            return Ok(files);
        }
        tracing::info!(name, "Issuing a certificate");
        let issued = self.authority.issue(request);
        let issued = issued.with_context(|| format!("cannot issue the certificate of {name}"))?;
        // Who is cut off in between finds the certificate to be due still.
        files::replace(&files.key, issued.key_pem.as_bytes(), 0o600)?;
        files::replace(&files.cert, issued.cert_pem.as_bytes(), 0o644)?;
        Ok(files)
    }
}

/// Whether a certificate and a key belong together.
fn matches(files: &Pair) -> bool {
    let key = fs::read_to_string(&files.key).ok().and_then(|pem| Key::read(&pem).ok());
    fs::read(&files.cert).is_ok_and(|cert| key.is_some_and(|key| key.is_of(&cert)))
}

fn ensure_service_account_keys(cluster: &Cluster) -> Result<()> {
    let (public, private) = service_account_keys(cluster);
    let known = fs::read_to_string(&private).ok().and_then(|pem| Key::read(&pem).ok());
    if public.exists() && known.is_some() {
        return Ok(());
    }
    let key = Key::generate().context("cannot make the key of service accounts")?;
    files::replace(&private, key.pem().as_bytes(), 0o600)?;
    files::replace(&public, pki::pem("PUBLIC KEY", &key.public()).as_bytes(), 0o644)
}

/// An etcd that listens on an address takes nobody who has a certificate of the cluster's own CA: many do.
fn ensure_etcd(cluster: &Cluster, now: Timestamp) -> Result<()> {
    let etcd = Issuing::by("etcd-ca", "etcd-ca", cluster, now)?;
    let server = IssueRequest::server("kube-etcd", &["localhost"], &[Ipv4Addr::LOCALHOST.into()]);
    etcd.issue("etcd", &IssueRequest { client: true, ..server })?;
    let client = IssueRequest::client("kube-apiserver-etcd-client", &[]);
    etcd.issue("apiserver-etcd-client", &client).map(drop)
}

/// Makes all certificates, keys and kubeconfigs that are not there yet, and anew the certificates that are due by `now`.
/// The authorities stay for their ten years.
pub fn ensure(cluster: &Cluster, now: Timestamp) -> Result<()> {
    files::make_private_dir(&cluster.pki_dir())?;
    // The supervisor does so at any time.
    let lock = cluster.pki_dir().join(".lock");
    let lock = machinery::files::open_lock(&lock).and_then(|lock| lock.lock().map(|()| lock));
    let _lock = lock.context("cannot lock the certificates")?;
    let serving = Issuing::by(CA, "kubernetes", cluster, now)?;
    for (name, request) in servers(cluster) {
        serving.issue(&name, &request)?;
    }
    let own = Issuing::by(CLIENT_CA, "kubernetes-client", cluster, now)?;
    own.issue("apiserver-kubelet-client", &IssueRequest::client(KUBELET_CLIENT, &[KUBELET_API_ADMIN]))?;
    let front = Issuing::by(FRONT_PROXY_CA, FRONT_PROXY_CA, cluster, now)?;
    front.issue(FRONT_PROXY, &IssueRequest::client(FRONT_PROXY, &[]))?;
    ensure_service_account_keys(cluster)?;
    if cluster.control_plane == ControlPlane::Pods {
        ensure_etcd(cluster, now)?;
    }
    for (name, request) in clients(cluster) {
        let files = own.issue(&name, &request)?;
        let user = if name == ADMIN { cluster.context() } else { request.common_name };
        let identity = read_identity(cluster, &files, &user)?;
        files::ensure(&cluster.kubeconfig_of(&name), kubeconfig::render(&identity)?.as_bytes(), 0o600)?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn read_identity(cluster: &Cluster, files: &Pair, user: &str) -> Result<Identity> {
    Ok(Identity {
        context: cluster.context(),
        user: user.to_owned(),
        server: cluster.server(),
        authority: read(&pair(cluster, CA).cert)?,
        cert: read(&files.cert)?,
        key: read(&files.key)?,
    })
}

/// What goes into the user's own kubeconfig.
pub fn admin(cluster: &Cluster) -> Result<Identity> {
    read_identity(cluster, &pair(cluster, ADMIN), &cluster.context())
}

#[cfg(test)]
mod tests;
