//! Servers that share a real etcd and those that are alone on it.

use std::{pin::pin, sync::Arc, time::Duration};

use futures::StreamExt as _;

use super::super::{etcd::writers::ENTRIES, *};
use super::etcd::Etcd;

const PATIENCE: Duration = Duration::from_secs(30);

async fn server(etcd: &Etcd) -> EtcdStore {
    EtcdStore::connect(&etcd.config()).await.unwrap().for_a_server()
}

/// A server and its upkeep.
struct Running(Arc<EtcdStore>, tokio::task::JoinHandle<()>, CancellationToken);

impl Running {
    async fn start(etcd: &Etcd) -> Self {
        Self::of(Arc::new(server(etcd).await))
    }

    fn of(store: Arc<EtcdStore>) -> Self {
        let kept = store.clone();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        Self(store, tokio::spawn(async move { kept.upkeep(&stopped).await }), stop)
    }

    async fn stop(self) {
        self.2.cancel();
        self.1.await.unwrap();
    }

    /// Ends it as a kill would.
    async fn kill(self) {
        self.1.abort();
        let _aborted = self.1.await;
    }
}

async fn create(store: &EtcdStore, key: &str) -> Revision {
    match store.commit(vec![Op::create(key, "x")]).await.unwrap() {
        Committed::Done(revision) => revision,
        conflict => panic!("{conflict:?}"),
    }
}

async fn until(mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it comes");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_is_alone_reads_without_asking() {
    let Some(etcd) = Etcd::start().await else { return };
    let bare = EtcdStore::connect(&etcd.config()).await.unwrap();
    assert_eq!(bare.local_revision(), None);
    let one = Running::start(&etcd).await;
    let first = create(&one.0, "/registry/a").await;
    assert_eq!(one.0.local_revision(), Some(first));

    let other = Running::start(&etcd).await;
    create(&other.0, "/registry/b").await;
    assert_eq!((one.0.local_revision(), other.0.local_revision()), (None, None), "each knows of the other");
    let conflict = one.0.commit(vec![Op::create("/registry/b", "x")]).await.unwrap();
    assert!(matches!(conflict, Committed::Conflict { index: 0, .. }), "{conflict:?}");

    // Once the other one left, or its entry lapsed, this one is alone, and behind nothing that was written.
    let last = create(&other.0, "/registry/c").await;
    other.stop().await;
    until(|| one.0.local_revision().is_some()).await;
    assert!(one.0.local_revision() > Some(last));
    let third = Running::start(&etcd).await;
    let last = create(&third.0, "/registry/d").await;
    third.kill().await;
    assert_eq!(one.0.local_revision(), None);
    until(|| one.0.local_revision().is_some()).await;
    assert!(one.0.local_revision() > Some(last));
    assert_eq!(one.0.load(ENTRIES, None).await.unwrap().items.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_on_the_same_machine_does_not_wait() {
    let Some(etcd) = Etcd::start().await else { return };
    // What a server hears of while it enters is no trip of the store back in time.
    let bare = EtcdStore::connect(&etcd.config()).await.unwrap();
    let busy = tokio::spawn(async move {
        for number in 0.. {
            let many = (0..16).map(|i| format!("/elsewhere/{number}/{i}"));
            futures::future::join_all(many.map(|key| async { create(&bare, &{ key }).await })).await;
        }
    });
    for round in 0..6 {
        let store = Arc::new(server(&etcd).await);
        let mut changes = store.watch("/registry/", 0).await.unwrap();
        let following = tokio::spawn(async move { while changes.next().await.is_some() {} });
        let server = Running::of(store);
        let key = format!("/registry/{round}");
        let made = create(&server.0, &key);
        tokio::time::timeout(Duration::from_secs(4), made)
            .await
            .expect("before the predecessor's lease ends");
        until(|| server.0.local_revision().is_some()).await;
        following.abort();
        server.kill().await;
    }
    busy.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stood_still_neither_trusts_nor_writes() {
    let Some(etcd) = Etcd::start().await else { return };
    let one = server(&etcd).await;
    let stop = CancellationToken::new();
    let mut upkeep = pin!(one.upkeep(&stop));
    tokio::select! {
        () = &mut upkeep => unreachable!(),
        _made = create(&one, "/registry/a") => {}
    }
    assert!(one.local_revision().is_some());
    // It lives, but does not move: the other one has to wait until its entry lapses.
    let other = Running::start(&etcd).await;
    let made = tokio::time::timeout(PATIENCE, create(&other.0, "/registry/b")).await.unwrap();
    assert_eq!(one.local_revision(), None);
    // It believes in its entry until etcd tells.
    let mut late = pin!(one.commit(vec![Op::create("/registry/c", "x")]));
    let waits = tokio::time::timeout(Duration::from_millis(500), &mut late).await;
    assert!(waits.is_err(), "no commit without an entry");
    assert_eq!(one.get("/registry/c").await.unwrap(), None);
    // It goes on as soon as it moves.
    tokio::select! {
        () = &mut upkeep => unreachable!(),
        late = late => assert!(matches!(late, Ok(Committed::Done(revision)) if revision > made), "{late:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_outcome_nobody_heard_is_not_overlooked() {
    let Some(mut etcd) = Etcd::start().await else { return };
    let one = Running::start(&etcd).await;
    create(&one.0, "/registry/a").await;
    until(|| one.0.local_revision().is_some()).await;
    // While it is under way, and when its caller goes away, others may see it before we hear of it.
    etcd.halt();
    let mut commit = Box::pin(one.0.commit(vec![Op::create("/registry/b", "x")]));
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut commit).await.is_err());
    drop(commit);
    etcd.kill();
    assert_eq!(one.0.local_revision(), None);
    etcd.restart();
    until(|| one.0.local_revision().is_some()).await;
    let found = one.0.load("/registry/", None).await.unwrap();
    let newest = found.items.iter().map(|item| item.revision).max();
    assert!(one.0.local_revision() >= newest, "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_nobody_keeps_hold_up_nobody() {
    let Some(etcd) = Etcd::start().await else { return };
    let bare = EtcdStore::connect(&etcd.config()).await.unwrap();
    for (name, value) in [("elsewhere/0", "0"), ("elsewhere/1", "what"), ("", "0")] {
        bare.commit(vec![Op::create(format!("{ENTRIES}{name}"), value)]).await.unwrap();
    }
    let one = Running::start(&etcd).await;
    create(&one.0, "/registry/a").await;
    bare.commit(vec![Op::create(format!("{ENTRIES}late/2"), "0")]).await.unwrap();
    create(&one.0, "/registry/b").await;
    until(|| one.0.local_revision().is_some()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_etcd_with_several_members_nobody_is_alone() {
    let Some(members) = Etcd::cluster(3, &[]).await else { return };
    let one = Running::start(&members[0]).await;
    create(&one.0, "/registry/a").await;
    assert_eq!(one.0.local_revision(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_was_removed_is_made_again() {
    let Some(etcd) = Etcd::start().await else { return };
    let one = Running::start(&etcd).await;
    create(&one.0, "/registry/0").await;
    let mut admin = etcd_client::Client::connect([etcd.endpoint()], None).await.unwrap();
    for i in 1..10 {
        let all = etcd_client::DeleteOptions::new().with_prefix();
        admin.delete(ENTRIES, Some(all)).await.unwrap();
        create(&one.0, &format!("/registry/{i}")).await;
    }
    until(|| one.0.local_revision().is_some()).await;
}
