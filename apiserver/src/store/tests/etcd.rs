//! The store in a real etcd, which each test starts for itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;

use super::super::*;
use super::suite;

pub(crate) use crate::harness::etcd::Etcd;

impl Etcd {
    pub(crate) fn config(&self) -> EtcdConfig {
        EtcdConfig { endpoints: vec![self.endpoint()], ..EtcdConfig::default() }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_suite() {
    let Some(etcd) = Etcd::start().await else { return };
    suite::run(Arc::new(EtcdStore::connect(&etcd.config()).await.unwrap())).await;
}

/// As `skiff up` runs it: nobody reaches it who may not enter its folder.
#[tokio::test(flavor = "multi_thread")]
async fn is_reached_through_a_socket_in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (client, peer) = ("unix://localhost:2379", "unix://localhost:2380");
    let arguments = [
        "--name=s",
        "--logger=zap",
        "--log-outputs=/dev/null",
        "--data-dir=data",
        &format!("--listen-client-urls={client}"),
        &format!("--advertise-client-urls={client}"),
        &format!("--listen-peer-urls={peer}"),
        &format!("--initial-advertise-peer-urls={peer}"),
        &format!("--initial-cluster=s={peer}"),
    ];
    let mut command = tokio::process::Command::new("etcd");
    command.args(arguments).current_dir(&folder).kill_on_drop(true);
    let mut etcd = match command.spawn() {
        Ok(etcd) => etcd,
        Err(error) => return machinery::testing::skip(&format!("cannot run etcd: {error}")),
    };
    let socket = folder.path().join("localhost:2379");
    let StoreConfig::Etcd(config) = format!("etcd:unix://{}", socket.display()).parse().unwrap() else {
        panic!("an etcd")
    };
    let store = EtcdStore::connect(&config).await.unwrap();
    let answers = async {
        while store.revision().await.is_err() {
            assert_eq!(etcd.try_wait().unwrap(), None);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), answers).await.expect("etcd answers");
    suite::run(Arc::new(store)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compacts_what_is_old_and_says_so() {
    let Some(etcd) = Etcd::start().await else { return };
    let interval = Duration::from_millis(300);
    let config = EtcdConfig { compaction_interval: Some(interval), ..etcd.config() };
    let connect = || async { EtcdStore::connect(&config).await.unwrap() };
    let (store, other) = (connect().await, connect().await);
    let Committed::Done(first) = store.commit(vec![Op::create("/registry/x", "0")]).await.unwrap() else {
        panic!("the key is new")
    };
    // Writes until even what came after the first revision is forgotten; the first write of the last interval is then
    // the oldest one that nobody may have forgotten yet.
    let write = async {
        let (mut last, mut written) = (first, Vec::new());
        loop {
            let begun = Instant::now();
            let op = Op::update("/registry/x", last, written.len().to_string());
            let Committed::Done(revision) = store.commit(vec![op]).await.unwrap() else {
                panic!("ours alone")
            };
            last = revision;
            written.push((begun, revision));
            let old = store.load("/registry/", Some(first + 1)).await;
            let recent =
                written.iter().find(|(begun, _)| begun.elapsed() < interval).map(|(_, revision)| *revision);
            match (old, recent) {
                (Err(StoreError::Compacted { .. }), Some(recent)) if recent < last => return recent,
                (Ok(_) | Err(StoreError::Compacted { .. }), _) => {}
                (Err(error), _) => panic!("{error}"),
            }
        }
    };
    let write = tokio::time::timeout(Duration::from_secs(60), write);
    let stop = CancellationToken::new();
    let recent = tokio::select! {
        recent = write => recent.expect("what is old is forgotten in time"),
        () = store.upkeep(&stop) => unreachable!(),
        () = other.upkeep(&stop) => unreachable!(),
    };
    let mut watch = store.watch("/registry/", first).await.unwrap();
    let end = watch.next().await.unwrap();
    assert!(matches!(end, Err(StoreError::Compacted { .. })), "{end:?}");
    let load = store.load("/registry/", Some(first)).await;
    assert!(matches!(load, Err(StoreError::Compacted { .. })), "{load:?}");
    // What happened within the last interval is still there.
    assert_eq!(store.load("/registry/", Some(recent)).await.unwrap().items.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn survives_a_restart_of_etcd() {
    let Some(mut etcd) = Etcd::start().await else { return };
    let store = EtcdStore::connect(&etcd.config()).await.unwrap();
    let Committed::Done(first) = store.commit(vec![Op::create("/registry/x", "0")]).await.unwrap() else {
        panic!("the key is new")
    };
    let mut watch = store.watch("/registry/", first).await.unwrap();
    etcd.kill();
    let end = tokio::time::timeout(Duration::from_secs(30), watch.next()).await.unwrap().unwrap();
    assert!(matches!(end, Err(StoreError::Lost(_))), "{end:?}");
    assert!(store.healthy().await.is_err());
    let reading = store.get("/registry/x");
    let restart = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        etcd.restart();
    };
    let (read, ()) = tokio::join!(reading, restart);
    assert_eq!(read.unwrap().unwrap().revision, first, "a read waits for etcd to come back");
    store.commit(vec![Op::update("/registry/x", first, "1")]).await.unwrap();
    let mut watch = store.watch("/registry/", first).await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().changes.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn sees_writes_that_are_not_ours() {
    let Some(etcd) = Etcd::start().await else { return };
    let store = EtcdStore::connect(&etcd.config()).await.unwrap();
    let start = store.revision().await.unwrap();
    let mut watch = store.watch("/registry/", start).await.unwrap();
    store.commit(vec![Op::create("/elsewhere/x", "0")]).await.unwrap();
    let batch = watch.next().await.unwrap().unwrap();
    assert_eq!(batch, Batch { revision: start + 1, changes: Vec::new() });
    assert_eq!(store.revision().await.unwrap(), start + 1);
}

async fn put(store: &EtcdStore, key: &str, value: impl Into<Bytes>) -> Result<Revision, StoreError> {
    let expect = store.get(key).await?.map_or(Expect::Absent, |kv| Expect::Revision(kv.revision));
    match store.commit(vec![Op { key: key.into(), expect, value: Some(value.into()) }]).await? {
        Committed::Done(revision) => Ok(revision),
        conflict => panic!("{conflict:?}"),
    }
}

/// A CA and certificates for both ends, as files.
fn certificates(folder: &std::path::Path) {
    use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
    let key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = ca.self_signed(&key).unwrap();
    std::fs::write(folder.join("ca.pem"), certificate.pem()).unwrap();
    let issuer = Issuer::new(ca, key);
    for name in ["server", "client"] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        std::fs::write(folder.join(format!("{name}.pem")), params.signed_by(&key, &issuer).unwrap().pem())
            .unwrap();
        std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shows_certificates_and_passwords_to_an_etcd_that_wants_them() {
    machinery::tls::use_ring();
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let file = |name: &str| folder.path().join(name);
    let arguments: Vec<String> =
        [("--cert-file", "server.pem"), ("--key-file", "server.key"), ("--trusted-ca-file", "ca.pem")]
            .iter()
            .map(|(flag, name)| format!("{flag}={}", file(name).display()))
            .chain(["--client-cert-auth=true".into(), "--auth-token-ttl=1".into()])
            .collect();
    let Some(etcd) = Etcd::start_with(&arguments).await else { return };
    let config = EtcdConfig {
        ca_file: Some(file("ca.pem")),
        cert_file: Some(file("client.pem")),
        key_file: Some(file("client.key")),
        ..etcd.config()
    };
    let stranger = EtcdConfig { cert_file: None, key_file: None, ..config.clone() };
    let stranger = EtcdStore::connect(&stranger).await.unwrap();
    assert!(stranger.healthy().await.is_err(), "without a certificate nobody is let in");
    let store = EtcdStore::connect(&config).await.unwrap();
    for _ in 0..100 {
        if store.healthy().await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    put(&store, "/registry/x", "1").await.unwrap();

    // From here on names and passwords count, and tokens live for a second.
    let tls = super::super::etcd::connection::tls(&config).unwrap();
    let options = etcd_client::ConnectOptions::new().with_tls(tls);
    let mut admin = etcd_client::Client::connect([etcd.endpoint()], Some(options)).await.unwrap();
    admin.user_add("root", "secret:1", None).await.unwrap();
    admin.user_grant_role("root", "root").await.unwrap();
    admin.auth_enable().await.unwrap();
    let with = |name: &str, password: &str| EtcdConfig {
        user: Some((name.into(), password.into())),
        ..config.clone()
    };
    let wrong = EtcdStore::connect(&with("root", "guess")).await.err();
    assert!(matches!(wrong, Some(StoreError::Refused(_))), "{wrong:?}");
    let store = EtcdStore::connect(&with("root", "secret:1")).await.unwrap();
    let start = put(&store, "/registry/x", "2").await.unwrap();
    let mut watch = store.watch("/registry/", start).await.unwrap();
    for round in 0..3 {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let revision = put(&store, "/registry/x", round.to_string()).await.unwrap();
        assert_eq!(watch.next().await.unwrap().unwrap().revision, revision);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn goes_on_when_a_member_dies() {
    let Some(mut members) = Etcd::cluster(3, &[]).await else { return };
    let endpoints = members.iter().map(Etcd::endpoint).collect();
    let store = EtcdStore::connect(&EtcdConfig { endpoints, ..EtcdConfig::default() }).await.unwrap();
    let mut written = put(&store, "/registry/x", "0").await.unwrap();
    for (dead, member) in members.iter_mut().enumerate() {
        member.kill();
        // One of them was the leader: for a moment nobody decides, and a commit may fail with its outcome unknown.
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        let mut good = 0;
        while good < 50 {
            match put(&store, "/registry/x", format!("{dead} {good}")).await {
                Ok(revision) => {
                    assert!(revision > written);
                    written = revision;
                    good += 1;
                }
                Err(StoreError::Unavailable(why)) => {
                    println!("{dead} {good}: {why}");
                    good = 0;
                }
                Err(error) => panic!("{error:?}"),
            }
            assert!(tokio::time::Instant::now() < deadline, "two of three are enough");
        }
        assert!(store.revision().await.unwrap() >= written);
        for _ in 0..20 {
            store.healthy().await.unwrap();
        }
        assert_eq!(store.load("/registry/", None).await.unwrap().items.len(), 1);
        let mut watch = store.watch("/registry/", written - 1).await.unwrap();
        assert_eq!(watch.next().await.unwrap().unwrap().revision, written);
        member.restart();
        member.ready().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn says_so_when_etcd_is_full_and_reads_on() {
    const QUOTA: usize = 16 << 20;
    let Some(etcd) = Etcd::start_with(&[format!("--quota-backend-bytes={QUOTA}")]).await else { return };
    let connect = || async { EtcdStore::connect(&etcd.config()).await.unwrap() };
    let store = connect().await;
    let value = vec![b'x'; 1 << 20];
    let mut full = None;
    for i in 0..100 {
        if let Err(error) = put(&store, &format!("/registry/{i}"), value.clone()).await {
            full = Some((i, error));
            break;
        }
    }
    let (count, error) = full.expect("the quota is reached");
    assert!(matches!(&error, StoreError::NoSpace(_)), "{error:?}");
    let refused = store.commit(vec![Op::create("/registry/small", "x")]).await;
    assert!(matches!(refused, Err(StoreError::NoSpace(_))), "{refused:?}");
    let (server, stop) = (connect().await.for_a_server(), CancellationToken::new());
    tokio::select! {
        () = server.upkeep(&stop) => unreachable!(),
        refused = server.commit(vec![Op::create("/registry/small", "x")]) =>
            assert!(matches!(refused, Err(StoreError::NoSpace(_))), "{refused:?}"),
    }
    // Nothing is lost, and reads and watches go on.
    assert_eq!(store.load("/registry/", None).await.unwrap().items.len(), count);
    assert!(store.healthy().await.is_ok());
    let revision = store.revision().await.unwrap();
    assert!(store.watch("/registry/", revision).await.is_ok());
    // Room is made as etcd's operators do it: delete, compact, defragment, disarm.
    let mut client = etcd_client::Client::connect([etcd.endpoint()], None).await.unwrap();
    for i in 0..count {
        client.delete(format!("/registry/{i}"), None).await.unwrap();
    }
    let revision = store.revision().await.unwrap();
    client.compact(revision as i64, None).await.unwrap();
    client.defragment().await.unwrap();
    let alarms =
        client.alarm(etcd_client::AlarmAction::Get, etcd_client::AlarmType::Nospace, None).await.unwrap();
    let member = alarms.alarms()[0].member_id();
    let mut disarm = etcd_client::AlarmOptions::new();
    disarm.with_member(member);
    client
        .alarm(etcd_client::AlarmAction::Deactivate, etcd_client::AlarmType::Nospace, Some(disarm))
        .await
        .unwrap();
    put(&store, "/registry/again", "x").await.unwrap();
}
