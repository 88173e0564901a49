//! The semantics every store has.

use futures::StreamExt as _;

use std::sync::Arc;

use super::super::*;

async fn put(store: &dyn Store, key: &str, value: &str) -> Revision {
    let current = store.get(key).await.unwrap();
    let expect = current.map_or(Expect::Absent, |kv| Expect::Revision(kv.revision));
    let op = Op { key: key.into(), expect, value: Some(value.to_owned().into()) };
    match store.commit(vec![op]).await.unwrap() {
        Committed::Done(revision) => revision,
        conflict => panic!("{conflict:?}"),
    }
}

fn pairs(loaded: &Loaded) -> Vec<(&str, &[u8], Revision)> {
    loaded.items.iter().map(|kv| (kv.key.as_str(), &kv.value[..], kv.revision)).collect()
}

async fn commits_compare_and_swap(store: &dyn Store) {
    let a = "/registry/cas/a";
    let first = match store.commit(vec![Op::create(a, "1")]).await.unwrap() {
        Committed::Done(revision) => revision,
        other => panic!("{other:?}"),
    };
    let current = KeyValue { key: a.into(), value: "1".into(), revision: first };
    let taken = Committed::Conflict { index: 0, current: Some(current.clone()) };
    assert_eq!(store.commit(vec![Op::create(a, "2")]).await.unwrap(), taken);
    assert_eq!(store.commit(vec![Op::update(a, first + 1, "2")]).await.unwrap(), taken);
    assert_eq!(store.commit(vec![Op::delete(a, first - 1)]).await.unwrap(), taken);
    assert_eq!(store.get(a).await.unwrap(), Some(current));
    assert_eq!(
        store.commit(vec![Op::delete("/registry/cas/none", 1)]).await.unwrap(),
        Committed::Conflict { index: 0, current: None }
    );
    assert_eq!(store.revision().await.unwrap(), first, "a conflict takes no revision");

    // All or nothing, at one revision.
    let b = "/registry/cas/b";
    let outcome = store.commit(vec![Op::create(b, "b"), Op::update(a, first + 1, "x")]).await.unwrap();
    assert!(matches!(outcome, Committed::Conflict { index: 1, current: Some(_) }), "{outcome:?}");
    assert_eq!(store.get(b).await.unwrap(), None);
    let outcome = store.commit(vec![Op::create(b, "b"), Op::update(a, first, "x")]).await.unwrap();
    assert_eq!(outcome, Committed::Done(first + 1));
    let loaded = store.load("/registry/cas/", None).await.unwrap();
    assert_eq!(pairs(&loaded), [(a, &b"x"[..], first + 1), (b, b"b", first + 1)]);

    // Checks without a write.
    let check = Op { key: "/registry/cas/none".into(), expect: Expect::Absent, value: None };
    assert_eq!(store.commit(vec![check]).await.unwrap(), Committed::Done(first + 1));
    let check = Op { key: b.into(), expect: Expect::Absent, value: None };
    assert!(matches!(store.commit(vec![check]).await.unwrap(), Committed::Conflict { index: 0, .. }));
    assert_eq!(store.commit(vec![Op::delete(a, first + 1)]).await.unwrap(), Committed::Done(first + 2));
    assert_eq!(store.get(a).await.unwrap(), None);
    assert_eq!(store.revision().await.unwrap(), first + 2);
}

async fn loads_old_revisions_and_many_keys(store: &dyn Store) {
    let mut last = 0;
    for i in 0..2300 {
        last = put(store, &format!("/registry/many/{i:05}"), &i.to_string()).await;
    }
    put(store, "/registry/many/00000", "changed").await;
    put(store, "/registry/many0", "outside").await;
    let now = store.load("/registry/many/", None).await.unwrap();
    assert_eq!(now.items.len(), 2300);
    assert!(now.items.is_sorted_by(|a, b| a.key < b.key));
    assert_eq!(now.items[0].value, "changed");
    assert_eq!(now.revision, last + 2);
    let old = store.load("/registry/many/", Some(last - 500)).await.unwrap();
    assert_eq!((old.items.len(), old.revision), (1800, last - 500));
    assert_eq!(old.items[0].value, "0");
}

async fn watches_in_order(store: &dyn Store) {
    let start = store.revision().await.unwrap();
    let mut live = store.watch("/registry/seen/", start).await.unwrap();
    let a = put(store, "/registry/seen/a", "1").await;
    put(store, "/registry/unseen/a", "1").await;
    let b = put(store, "/registry/seen/a", "2").await;
    let both = vec![Op::delete("/registry/seen/a", b), Op::create("/registry/seen/b", "3")];
    assert_eq!(store.commit(both).await.unwrap(), Committed::Done(b + 1));
    put(store, "/registry/unseen/b", "1").await;
    let key = |name: &str| format!("/registry/seen/{name}");
    let expected = [
        Change::Put { key: key("a"), value: "1".into(), revision: a, created: true },
        Change::Put { key: key("a"), value: "2".into(), revision: b, created: false },
        Change::Delete { key: key("a"), revision: b + 1 },
        Change::Put { key: key("b"), value: "3".into(), revision: b + 1, created: true },
    ];
    for from in [start, a, b] {
        let mut late = store.watch("/registry/seen/", from).await.unwrap();
        let stream = if from == start { &mut live } else { &mut late };
        let mut seen = Vec::new();
        let mut revision = from;
        while revision < b + 2 {
            let batch = stream.next().await.unwrap().unwrap();
            assert!(batch.revision > revision);
            assert!(batch.changes.iter().all(|c| c.revision() > revision && c.revision() <= batch.revision));
            revision = batch.revision;
            seen.extend(batch.changes);
        }
        let wanted: Vec<Change> = expected.iter().filter(|c| c.revision() > from).cloned().collect();
        assert_eq!(seen, wanted, "from {from}");
    }
}

async fn refuses_what_is_too_large(store: &dyn Store) {
    let before = store.revision().await.unwrap();
    let error = store.commit(vec![Op::create("/registry/large", vec![b'x'; 2 << 20])]).await.unwrap_err();
    assert!(matches!(error, StoreError::TooLarge(_)), "{error:?}");
    assert_eq!(store.revision().await.unwrap(), before);
    let value = vec![b'y'; 1 << 20];
    store.commit(vec![Op::create("/registry/large", value.clone())]).await.unwrap();
    assert_eq!(store.get("/registry/large").await.unwrap().unwrap().value, value);
}

async fn counts_without_losing(store: Arc<dyn Store>) {
    const WRITERS: usize = 8;
    const EACH: usize = 25;
    let key = "/registry/counter";
    store.commit(vec![Op::create(key, "0")]).await.unwrap();
    let writers = (0..WRITERS).map(|_| {
        let store = Arc::clone(&store);
        async move {
            let mut current = store.get(key).await.unwrap().unwrap();
            for _ in 0..EACH {
                loop {
                    let count: usize = std::str::from_utf8(&current.value).unwrap().parse().unwrap();
                    let value: Bytes = (count + 1).to_string().into();
                    let op = Op::update(key, current.revision, value.clone());
                    match store.commit(vec![op]).await.unwrap() {
                        Committed::Done(revision) => {
                            assert!(store.revision().await.unwrap() >= revision);
                            let read = store.get(key).await.unwrap().unwrap();
                            assert!(read.revision >= revision, "a read sees what was answered before");
                            current = read;
                            break;
                        }
                        Committed::Conflict { current: found, .. } => current = found.unwrap(),
                    }
                }
            }
        }
    });
    futures::future::join_all(writers.map(tokio::spawn)).await.into_iter().for_each(|end| end.unwrap());
    let total = store.get(key).await.unwrap().unwrap();
    assert_eq!(total.value, (WRITERS * EACH).to_string());
}

/// The whole suite, on an empty store.
pub(super) async fn run(store: Arc<dyn Store>) {
    store.healthy().await.unwrap();
    commits_compare_and_swap(&*store).await;
    loads_old_revisions_and_many_keys(&*store).await;
    watches_in_order(&*store).await;
    refuses_what_is_too_large(&*store).await;
    counts_without_losing(Arc::clone(&store)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory() {
    run(Arc::new(EmbeddedStore::memory())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn file() {
    let folder = tempfile::tempdir().unwrap();
    run(Arc::new(EmbeddedStore::open(&folder.path().join("store")).unwrap())).await;
}
