#![allow(clippy::unwrap_used)]
use super::*;
use crate::cluster::sample;

#[test]
fn what_is_there_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = sample(1);
    cluster.dir = dir.path().to_path_buf();
    ensure(&cluster).unwrap();
    let before = fs::read(cluster.kubeconfig_of(ADMIN)).unwrap();
    cluster.nodes = 2;
    ensure(&cluster).unwrap();
    assert_eq!(fs::read(cluster.kubeconfig_of(ADMIN)).unwrap(), before);
    assert!(cluster.kubeconfig_of("kubelet-two-node-2").exists());
    // Of an earlier version, with more names and more rights.
    let ca = pair(&cluster, "ca");
    let authority = Authority::load(&ca.cert, &ca.key).unwrap();
    let client = pair(&cluster, "apiserver-kubelet-client");
    let masterly = IssueRequest::client(KUBELET_CLIENT, &["system:masters"]);
    authority.issue(&masterly).unwrap().save(&client.cert, &client.key).unwrap();
    ensure(&cluster).unwrap();
    assert!(!masterly.is_met_by(&fs::read(&client.cert).unwrap()));
    assert_eq!(fs::read(cluster.kubeconfig_of(ADMIN)).unwrap(), before);
    let (_, kubelet) = servers(&cluster).pop().unwrap();
    assert!(kubelet.ips.iter().all(|ip| !ip.is_loopback()) && !kubelet.dns.contains(&"localhost".to_owned()));
    let (public, _) = service_account_keys(&cluster);
    assert!(fs::read_to_string(public).unwrap().lines().all(|line| line.len() <= 64));
}
