//! The loop that all share, on a cache of its own; and what is left of a kind that another still writes.
#![allow(clippy::unwrap_used)]

use async_trait::async_trait;
use tokio::sync::{Mutex, mpsc};

use super::*;
use crate::{
    resources::PODS,
    store::{ChangeStream, Committed, EmbeddedStore, KeyValue, Loaded, Op, Revision, Store, StoreError},
    watch_cache::ResourceSpec,
};

/// A loop whose looks tell when they begin and end as the test says.
struct Looks {
    begun: mpsc::UnboundedSender<()>,
    ends: Mutex<mpsc::UnboundedReceiver<Result<Left, Status>>>,
}

async fn look(looks: Arc<Looks>) -> Result<Left, Status> {
    looks.begun.send(()).unwrap();
    looks.ends.lock().await.recv().await.unwrap()
}

#[tokio::test]
async fn looks_again_after_changes_and_failures_and_not_without() {
    let tasks = Tasks::new();
    let store = Arc::new(EmbeddedStore::memory());
    let spec = ResourceSpec { prefix: PODS.prefix.into(), fields: None, read: None };
    let cache = WatchCache::load(store.clone(), [spec]).await.unwrap();
    tasks.spawn("watch-cache", cache.clone().run(tasks.token()));
    let (begun, mut begins) = mpsc::unbounded_channel();
    let (end, ends) = mpsc::unbounded_channel();
    let looks = Arc::new(Looks { begun, ends: Mutex::new(ends) });
    tasks.spawn_loop("test", follow(cache.clone(), [PODS], (looks, look)));
    let write = async |name: &str| {
        store.commit(vec![Op::create(format!("{}{name}", PODS.prefix), r#"{"metadata":{}}"#)]).await.unwrap();
        cache.fresh().await.unwrap();
    };

    begins.recv().await.unwrap();
    // What changes during a look leads to another one.
    write("a").await;
    end.send(Ok(Left::Nothing)).unwrap();
    begins.recv().await.unwrap();
    // What fails or is not done is tried again, though nothing changes.
    end.send(Err(Status::internal("a test"))).unwrap();
    begins.recv().await.unwrap();
    end.send(Ok(Left::Something)).unwrap();
    begins.recv().await.unwrap();
    // When all is in order it waits until something changes.
    end.send(Ok(Left::Nothing)).unwrap();
    // After three looks the next pause would be four times the first one.
    let idle = tokio::time::timeout(6 * LOOK_AGAIN.0, begins.recv()).await;
    assert!(idle.is_err(), "nothing changed");
    write("b").await;
    begins.recv().await.unwrap();
    tasks.stop();
    tasks.stop_and_join(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn a_loop_over_nothing_ends_the_process() {
    let cache = WatchCache::load(Arc::new(EmbeddedStore::memory()), []).await.unwrap();
    let error = follow(cache, [PODS], ((), async |()| Ok(Left::Nothing))).await.unwrap_err();
    assert_eq!(error.to_string(), "/registry/pods/ is not cached");
}

/// A store in which somebody writes every key after it was read, as often as it says.
struct Contended(EmbeddedStore, Mutex<usize>);

#[async_trait]
impl Store for Contended {
    async fn commit(&self, ops: Vec<Op>) -> Result<Committed, StoreError> {
        self.0.commit(ops).await
    }
    async fn get(&self, key: &str) -> Result<Option<KeyValue>, StoreError> {
        self.0.get(key).await
    }
    async fn load(&self, prefix: &str, at: Option<Revision>) -> Result<Loaded, StoreError> {
        let loaded = self.0.load(prefix, at).await?;
        let mut times = self.1.lock().await;
        if *times > 0 {
            *times -= 1;
            for item in &loaded.items {
                self.0.commit(vec![Op::update(item.key.clone(), item.revision, "{}")]).await?;
            }
        }
        Ok(loaded)
    }
    async fn revision(&self) -> Result<Revision, StoreError> {
        self.0.revision().await
    }
    async fn watch(&self, prefix: &str, after: Revision) -> Result<ChangeStream, StoreError> {
        self.0.watch(prefix, after).await
    }
    async fn healthy(&self) -> Result<(), StoreError> {
        self.0.healthy().await
    }
}

#[tokio::test]
async fn what_is_written_while_it_is_dropped_is_left() {
    let store = Contended(EmbeddedStore::memory(), Mutex::new(1));
    store
        .commit(vec![
            Op::create(format!("{}a", PODS.prefix), "{}"),
            Op::create(format!("{}b", PODS.prefix), "{}"),
        ])
        .await
        .unwrap();
    assert_eq!(custom_kinds::drop_unserved(&store, PODS.prefix).await.unwrap(), 2);
    assert_eq!(custom_kinds::drop_unserved(&store, PODS.prefix).await.unwrap(), 0);
    assert_eq!(store.load(PODS.prefix, None).await.unwrap().items, []);
}
