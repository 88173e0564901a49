#![allow(clippy::unwrap_used)]
use super::*;
use crate::cluster::sample;

#[test]
fn what_is_there_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = sample(1);
    cluster.dir = dir.path().to_path_buf();
    let now = machinery::clock::now();
    ensure(&cluster, now).unwrap();
    let before = fs::read(cluster.kubeconfig_of(ADMIN)).unwrap();
    cluster.nodes = 2;
    ensure(&cluster, now).unwrap();
    assert_eq!(fs::read(cluster.kubeconfig_of(ADMIN)).unwrap(), before);
    assert!(cluster.kubeconfig_of("kubelet-two-node-2").exists());
    // Of an earlier version, with more names and more rights.
    let ca = pair(&cluster, CLIENT_CA);
    let authority = Authority::load(&ca.cert, &ca.key).unwrap();
    let client = pair(&cluster, "apiserver-kubelet-client");
    let masterly = IssueRequest::client(KUBELET_CLIENT, &["system:masters"]);
    authority.issue(&masterly).unwrap().save(&client.cert, &client.key).unwrap();
    ensure(&cluster, now).unwrap();
    assert!(!masterly.is_met_by(&fs::read(&client.cert).unwrap()));
    assert_eq!(fs::read(cluster.kubeconfig_of(ADMIN)).unwrap(), before);
    let (_, kubelet) = servers(&cluster).pop().unwrap();
    assert!(kubelet.ips.iter().all(|ip| !ip.is_loopback()) && !kubelet.dns.contains(&"localhost".to_owned()));
    // A cluster of an earlier version, whose one authority was that of clients, too.
    for file in [&ca.cert, &ca.key] {
        fs::remove_file(file).unwrap();
    }
    ensure(&cluster, now).unwrap();
    assert_ne!(fs::read(cluster.kubeconfig_of(ADMIN)).unwrap(), before);
    let (public, _) = service_account_keys(&cluster);
    assert!(fs::read_to_string(public).unwrap().lines().all(|line| line.len() <= 64));
}

#[test]
fn what_is_damaged_is_made_anew_but_for_authorities() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = sample(1);
    cluster.dir = dir.path().to_path_buf();
    let now = machinery::clock::now();
    super::ensure(&cluster, now).unwrap();
    let (ca, server) = (pair(&cluster, "ca"), pair(&cluster, "apiserver"));
    fs::write(&server.key, "").unwrap();
    super::ensure(&cluster, now).unwrap();
    assert!(matches(&server));
    fs::copy(pair(&cluster, "proxy").key, &server.key).unwrap();
    super::ensure(&cluster, now).unwrap();
    assert!(matches(&server));
    let (_, private) = service_account_keys(&cluster);
    fs::write(&private, "").unwrap();
    super::ensure(&cluster, now).unwrap();
    Key::read(&fs::read_to_string(private).unwrap()).unwrap();
    let (cert, key) = (fs::read(&ca.cert).unwrap(), fs::read(&ca.key).unwrap());
    for (lost, content) in [(&ca.key, &key), (&ca.cert, &cert)] {
        fs::remove_file(lost).unwrap();
        let refusal = super::ensure(&cluster, now).unwrap_err().to_string();
        assert!(refusal.starts_with(&format!("{} is gone", lost.display())), "{refusal}");
        fs::write(lost, content).unwrap();
    }
    fs::copy(&server.key, &ca.key).unwrap();
    let refusal = super::ensure(&cluster, now).unwrap_err().to_string();
    assert!(refusal.contains("is not the key of"), "{refusal}");
    fs::remove_file(&ca.key).unwrap();
    fs::remove_file(&ca.cert).unwrap();
    let before = fs::read(&server.cert).unwrap();
    super::ensure(&cluster, now).unwrap();
    assert_ne!(fs::read(&server.cert).unwrap(), before);
}

#[test]
fn certificates_are_renewed_four_months_before_their_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = sample(1);
    (cluster.dir, cluster.kubeconfig) = (dir.path().to_path_buf(), dir.path().join("config"));
    cluster.control_plane = ControlPlane::Pods;
    let (now, day) = (machinery::clock::now(), jiff::SignedDuration::from_hours(24));
    ensure(&cluster, now).unwrap();
    kubeconfig::add(&cluster.kubeconfig, &admin(&cluster).unwrap()).unwrap();
    let all = || -> Vec<(String, Vec<u8>)> {
        let files = fs::read_dir(cluster.pki_dir()).unwrap().map(|file| file.unwrap().path());
        let mut files: Vec<_> = files.filter(|file| !file.ends_with(".lock")).collect();
        files.sort();
        let name = |file: &Path| file.file_name().unwrap().to_str().unwrap().to_owned();
        files.into_iter().map(|file| (name(&file), fs::read(file).unwrap())).collect()
    };
    let (before, mine) = (all(), fs::read(&cluster.kubeconfig).unwrap());
    ensure(&cluster, now + 240 * day).unwrap();
    assert_eq!(all(), before);
    ensure(&cluster, now + 250 * day).unwrap();
    kubeconfig::renew(&cluster.kubeconfig, &admin(&cluster).unwrap()).unwrap();
    let kept: Vec<_> = all().into_iter().filter(|file| before.contains(file)).map(|(name, _)| name).collect();
    let authorities = ["ca", "client-ca", "etcd-ca", "front-proxy-ca"]
        .map(|name| [format!("{name}.crt"), format!("{name}.key")]);
    assert_eq!(kept, [authorities.concat(), vec!["sa.key".to_owned(), "sa.pub".to_owned()]].concat());
    assert_eq!(all().len(), before.len());
    let renewed = fs::read_to_string(&cluster.kubeconfig).unwrap();
    assert_ne!(renewed.as_bytes(), mine);
    assert_eq!(renewed.lines().filter(|line| line.contains("client-certificate-data")).count(), 1);
    // Who took the cluster out of it does not find it there again.
    kubeconfig::remove(&cluster.kubeconfig, &cluster.context()).unwrap();
    let without = fs::read(&cluster.kubeconfig).unwrap();
    kubeconfig::renew(&cluster.kubeconfig, &admin(&cluster).unwrap()).unwrap();
    assert_eq!(fs::read(&cluster.kubeconfig).unwrap(), without);
}
