//! Every watch checked against the whole history: nothing lost, doubled or out of order, while
//! many write, watchers come and go, and the store's own watch fails now and then.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;

use super::super::{object::Verb, *};
use super::spec;
use crate::store::tests::etcd::Etcd;
use crate::store::{Committed, EmbeddedStore, EtcdStore, Expect, Loaded, Op};

const PREFIX: &str = "/registry/pods/";

/// A store whose watches end early, each for another reason than the one before.
struct Flaky(Arc<dyn Store>, AtomicU64);

impl Flaky {
    fn new(store: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self(store, AtomicU64::new(0)))
    }
}

#[async_trait]
impl Store for Flaky {
    async fn commit(&self, ops: Vec<Op>) -> Result<Committed, StoreError> {
        self.0.commit(ops).await
    }
    async fn get(&self, key: &str) -> Result<Option<KeyValue>, StoreError> {
        self.0.get(key).await
    }
    async fn load(&self, prefix: &str, at: Option<Revision>) -> Result<Loaded, StoreError> {
        self.0.load(prefix, at).await
    }
    async fn revision(&self) -> Result<Revision, StoreError> {
        self.0.revision().await
    }
    async fn watch(&self, prefix: &str, after: Revision) -> Result<ChangeStream, StoreError> {
        let error = match self.1.fetch_add(1, Ordering::SeqCst) % 6 {
            0 => StoreError::Compacted { asked: after, oldest: after },
            1 => return Err(StoreError::Unavailable("no".into())),
            _ => StoreError::Lost("cut".into()),
        };
        let stream = self.0.watch(prefix, after).await?;
        let end = futures::stream::once(std::future::ready(Err(error)));
        Ok(Box::pin(stream.take(rand::random_range(1..30)).chain(end)))
    }
    async fn healthy(&self) -> Result<(), StoreError> {
        self.0.healthy().await
    }
}

/// Waits until the cache has caught up, however often its watch fails meanwhile.
async fn caught_up(cache: &WatchCache) -> Revision {
    loop {
        match cache.fresh().await {
            Ok(revision) => return revision,
            Err(StoreError::Unavailable(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// What happened: key, revision, label of the new state.
pub(super) type Truth = Vec<(String, Revision, Option<u8>)>;

pub(super) fn object(label: u8) -> String {
    format!(r#"{{"kind":"Pod","metadata":{{"labels":{{"l":"{label}"}}}}}}"#)
}

pub(super) fn label_of(object: &CachedObject) -> Option<u8> {
    object.label("l")?.parse().ok()
}

/// What a watcher with this scope and these labels has to be told between two revisions.
pub(super) fn expected(
    truth: &Truth,
    scope: &Scope,
    labels: &[u8],
    from: Revision,
    to: Revision,
) -> Vec<(Verb, String, Revision)> {
    let mut state: BTreeMap<&str, Option<u8>> = BTreeMap::new();
    let mut told = Vec::new();
    for (key, revision, label) in truth.iter().take_while(|(_, revision, _)| *revision <= to) {
        let before = state.insert(key, *label).flatten();
        let inside = match scope {
            Scope::All => true,
            Scope::Namespace(namespace) => key.split_once('/').unwrap().0 == namespace,
            Scope::Object(object) => key == object,
        };
        let sees = |label: Option<u8>| label.is_some_and(|label| labels.contains(&label));
        let verb = match (sees(before), sees(*label)) {
            (false, true) => Verb::Added,
            (true, true) => Verb::Modified,
            (true, false) => Verb::Deleted,
            (false, false) => continue,
        };
        if inside && *revision > from {
            told.push((verb, key.clone(), *revision));
        }
    }
    told
}

/// One stretch of a watch: all that came between two revisions.
struct Stretch {
    scope: Scope,
    labels: Vec<u8>,
    from: Revision,
    to: Revision,
    told: Vec<(Verb, String, Revision)>,
}

/// Lists, watches, breaks off, goes on where it was, lists again when it must.
async fn observe(cache: Arc<WatchCache>, done: Arc<AtomicBool>) -> (Vec<Stretch>, usize) {
    let mut stretches = Vec::new();
    let mut relists = 0;
    let scope = match rand::random_range(0..3) {
        0 => Scope::All,
        1 => Scope::Namespace(format!("n{}", rand::random_range(0..3))),
        _ => Scope::Object(format!("n{}/p{}", rand::random_range(0..3), rand::random_range(0..6))),
    };
    let labels: Vec<u8> = (0..4).filter(|_| rand::random_bool(0.5)).collect();
    let resource = cache.resource(PREFIX).unwrap();
    let mut position = None;
    loop {
        let finishing = done.load(Ordering::SeqCst);
        let wanted = labels.clone();
        let filter: Filter =
            Arc::new(move |o: &CachedObject| label_of(o).is_some_and(|l| wanted.contains(&l)));
        let from = match position.take() {
            Some(revision) => WatchFrom::Revision(revision),
            None => WatchFrom::Initial,
        };
        let Ok(mut watcher) = resource.watch(from, scope.clone(), Some(filter)) else {
            relists += 1;
            continue;
        };
        let mut view = BTreeMap::new();
        let mut stretch =
            Stretch { scope: scope.clone(), labels: labels.clone(), from: 0, to: 0, told: Vec::new() };
        if let WatchFrom::Revision(revision) = from {
            (stretch.from, stretch.to) = (revision, revision);
        }
        let mut initial = from == WatchFrom::Initial;
        let patience = Duration::from_millis(rand::random_range(1..60));
        let until = tokio::time::Instant::now() + patience;
        let ended = loop {
            if rand::random_ratio(1, 20) {
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
            match tokio::time::timeout_at(until, watcher.next(rand::random_range(1..50))).await {
                Err(_) => break None,
                Ok(Err(ended)) => break Some(ended),
                Ok(Ok(events)) => {
                    for event in events {
                        match event {
                            WatchEvent::InitialEnd(revision) => {
                                initial = false;
                                (stretch.from, stretch.to) = (revision, revision);
                            }
                            WatchEvent::Object { object, .. } if initial => {
                                view.insert(object.key().to_owned(), object.revision());
                            }
                            WatchEvent::Object { verb, object, line } => {
                                let text = std::str::from_utf8(&line).unwrap();
                                assert!(
                                    text.contains(&format!("\"resourceVersion\":\"{}\"", object.revision()))
                                );
                                stretch.told.push((verb, object.key().to_owned(), object.revision()));
                                stretch.to = object.revision();
                            }
                        }
                    }
                }
            }
        };
        if initial {
            // Broken off within the list: nothing is known.
            relists += 1;
            continue;
        }
        if from == WatchFrom::Initial {
            // The list itself is a stretch from the beginning, seen as a state.
            let told = view.into_iter().map(|(key, revision)| (Verb::Added, key, revision)).collect();
            let (scope, labels) = (scope.clone(), labels.clone());
            stretches.push(Stretch { scope, labels, from: Revision::MAX, to: stretch.from, told });
        }
        // A bookmark says that everything up to it has come. Without one only what came is
        // known to be complete up to before the last event, as its commit may have more.
        match watcher.bookmark() {
            Some(revision) => {
                assert!(revision >= stretch.to, "a bookmark never goes back");
                stretch.to = revision;
            }
            None => {
                stretch.to = stretch.to.max(stretch.from + 1) - 1;
                stretch.told.retain(|(_, _, revision)| *revision <= stretch.to);
            }
        }
        position = ended.is_none().then_some(stretch.to);
        relists += usize::from(ended.is_some());
        stretches.push(stretch);
        if finishing && ended.is_none() {
            return (stretches, relists);
        }
    }
}

async fn write(store: Arc<dyn Store>, cache: Arc<WatchCache>, commits: usize) {
    for _ in 0..commits {
        if rand::random_ratio(1, 10) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let mut ops = Vec::new();
        for _ in 0..rand::random_range(1..3) {
            let key = format!("{PREFIX}n{}/p{}", rand::random_range(0..3), rand::random_range(0..6));
            if ops.iter().any(|op: &Op| op.key == key) {
                continue;
            }
            let current = store.get(&key).await.unwrap();
            let expect = current.as_ref().map_or(Expect::Absent, |kv| Expect::Revision(kv.revision));
            let delete = current.is_some() && rand::random_ratio(1, 5);
            let value = (!delete).then(|| object(rand::random_range(0..4)).into());
            ops.push(Op { key, expect, value });
        }
        let probe = ops[0].clone();
        let Committed::Done(revision) = store.commit(ops).await.unwrap() else { continue };
        if rand::random_ratio(1, 10) {
            // A consistent read after a write sees it, or something newer.
            assert!(caught_up(&cache).await >= revision);
            let resource = cache.resource(PREFIX).unwrap();
            let snapshot = resource.snapshot();
            assert!(snapshot.revision >= revision);
            match resource.get(&probe.key[PREFIX.len()..]) {
                Some(found) if probe.value.is_some() => assert!(found.revision() >= revision),
                Some(found) => assert!(found.revision() > revision),
                None => {}
            }
        }
    }
}

async fn check(store: Arc<dyn Store>, seen_by_cache: Arc<dyn Store>, commits: usize) {
    let mut follow = store.watch(PREFIX, store.revision().await.unwrap()).await.unwrap();
    let cache = WatchCache::load(seen_by_cache, [spec(PREFIX)]).await.unwrap();
    let stop = CancellationToken::new();
    let feeder = tokio::spawn(Arc::clone(&cache).run(stop.clone()));
    let done = Arc::new(AtomicBool::new(false));
    let observers: Vec<_> =
        (0..12).map(|_| tokio::spawn(observe(Arc::clone(&cache), Arc::clone(&done)))).collect();
    let writers = (0..4).map(|_| tokio::spawn(write(Arc::clone(&store), Arc::clone(&cache), commits / 4)));
    let last = Arc::new(AtomicU64::new(Revision::MAX));
    let until = Arc::clone(&last);
    let truth = tokio::spawn(async move {
        let mut truth = Truth::new();
        loop {
            let batch = follow.next().await.unwrap().unwrap();
            truth.extend(batch.changes.iter().map(|change| {
                let label = match change {
                    Change::Put { value, .. } => (0..4).find(|l| *value == object(*l)),
                    Change::Delete { .. } => None,
                };
                (change.key()[PREFIX.len()..].to_owned(), change.revision(), label)
            }));
            if batch.revision >= until.load(Ordering::SeqCst) {
                return truth;
            }
        }
    });
    futures::future::join_all(writers).await.into_iter().for_each(|end| end.unwrap());
    last.store(store.revision().await.unwrap() + 1, Ordering::SeqCst);
    store.commit(vec![Op::create("/registry/end", "{}")]).await.unwrap();
    let truth = truth.await.unwrap();
    caught_up(&cache).await;
    done.store(true, Ordering::SeqCst);
    let (mut checked, mut relisted) = (0, 0);
    for observer in observers {
        let (stretches, relists) = observer.await.unwrap();
        relisted += relists;
        for stretch in stretches {
            if stretch.from == Revision::MAX {
                let mut state = BTreeMap::new();
                for (verb, key, revision) in expected(&truth, &stretch.scope, &stretch.labels, 0, stretch.to)
                {
                    match verb {
                        Verb::Deleted => state.remove(&key),
                        _ => state.insert(key, revision),
                    };
                }
                let listed: BTreeMap<_, _> = stretch.told.into_iter().map(|(_, k, r)| (k, r)).collect();
                assert_eq!(listed, state, "list at {}", stretch.to);
                continue;
            }
            let wanted = expected(&truth, &stretch.scope, &stretch.labels, stretch.from, stretch.to);
            let differ = stretch.told.iter().zip(&wanted).take_while(|(told, wanted)| told == wanted).count();
            assert!(
                stretch.told == wanted,
                "{:?} from {} to {}: told {:?}, should be {:?}",
                stretch.scope,
                stretch.from,
                stretch.to,
                &stretch.told[differ..],
                &wanted[differ..]
            );
            checked += wanted.len();
        }
    }
    assert!(relisted > 0, "the store forgot something at least once");
    println!("{} changes, {checked} events checked, {relisted} lists again", truth.len());
    assert!(checked > commits, "the observers saw something");
    stop.cancel();
    feeder.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_watch_agrees_with_the_history() {
    let store: Arc<dyn Store> = Arc::new(EmbeddedStore::memory());
    check(Arc::clone(&store), Flaky::new(store), 4000).await;
    if let Some(etcd) = Etcd::start().await {
        let store: Arc<dyn Store> = Arc::new(EtcdStore::connect(&etcd.config()).await.unwrap());
        check(Arc::clone(&store), Flaky::new(store), 1000).await;
    }
}
