//! The store in a real etcd, which each test starts for itself.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tempfile::TempDir;

use super::super::*;
use super::suite;

/// An etcd of our own; killed when dropped.
pub(crate) struct Etcd {
    child: Child,
    folder: TempDir,
    ports: [u16; 2],
}

impl Etcd {
    /// Starts one, or says why not and returns `None`.
    pub(crate) async fn start() -> Option<Self> {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (a, b) = (free(), free());
        let ports = [a.local_addr().unwrap().port(), b.local_addr().unwrap().port()];
        drop((a, b));
        let folder = tempfile::tempdir().unwrap();
        let child = match spawn(&folder, ports) {
            Ok(child) => child,
            Err(error) => {
                machinery::testing::skip(&format!("cannot run etcd: {error}"));
                return None;
            }
        };
        let etcd = Self { child, folder, ports };
        etcd.ready().await;
        Some(etcd)
    }

    pub(crate) fn config(&self) -> EtcdConfig {
        EtcdConfig { endpoints: vec![format!("http://127.0.0.1:{}", self.ports[0])], ..EtcdConfig::default() }
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn restart(&mut self) {
        self.child = spawn(&self.folder, self.ports).unwrap();
    }

    pub(crate) async fn ready(&self) {
        let store = EtcdStore::connect(&self.config()).await.unwrap();
        for _ in 0..100 {
            if store.healthy().await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("etcd does not answer");
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(folder: &TempDir, [client, peer]: [u16; 2]) -> std::io::Result<Child> {
    let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
    Command::new("etcd")
        .args(["--name=test", "--logger=zap", "--log-outputs=/dev/null"])
        .arg(format!("--data-dir={}", folder.path().join("data").display()))
        .arg(format!("--listen-client-urls={client}"))
        .arg(format!("--advertise-client-urls={client}"))
        .arg(format!("--listen-peer-urls={peer}"))
        .arg(format!("--initial-advertise-peer-urls={peer}"))
        .arg(format!("--initial-cluster=test={peer}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_suite() {
    let Some(etcd) = Etcd::start().await else { return };
    suite::run(Arc::new(EtcdStore::connect(&etcd.config()).await.unwrap())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compacts_what_is_old_and_says_so() {
    let Some(etcd) = Etcd::start().await else { return };
    let interval = Duration::from_millis(300);
    let connect =
        || async { EtcdStore::connect(&etcd.config()).await.unwrap().with_compaction_interval(interval) };
    let (store, other) = (connect().await, connect().await);
    let Committed::Done(first) = store.commit(vec![Op::create("/registry/x", "0")]).await.unwrap() else {
        panic!("the key is new")
    };
    let mut last = first;
    let write = async {
        for i in 0..40 {
            let op = Op::update("/registry/x", last, i.to_string());
            let Committed::Done(revision) = store.commit(vec![op]).await.unwrap() else {
                panic!("ours alone")
            };
            last = revision;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = write => {}
        () = store.upkeep() => unreachable!(),
        () = other.upkeep() => unreachable!(),
    }
    let mut watch = store.watch("/registry/", first).await.unwrap();
    let end = watch.next().await.unwrap();
    assert!(matches!(end, Err(StoreError::Compacted { .. })), "{end:?}");
    let load = store.load("/registry/", Some(first)).await;
    assert!(matches!(load, Err(StoreError::Compacted { .. })), "{load:?}");
    // What happened within the last interval is still there.
    assert_eq!(store.load("/registry/", Some(last - 1)).await.unwrap().items.len(), 1);
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
