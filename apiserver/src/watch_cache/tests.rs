//! The cache against a store, seen from outside.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::store::{Committed, EmbeddedStore, Op};

fn spec(prefix: &str) -> ResourceSpec {
    ResourceSpec { prefix: prefix.into(), fields: None }
}

async fn started(store: Arc<dyn Store>) -> (Arc<WatchCache>, tokio_util::sync::DropGuard) {
    let cache = WatchCache::load(store, [spec("/registry/pods/"), spec("/registry/nodes/")]).await.unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(Arc::clone(&cache).run(stop.clone()));
    (cache, stop.drop_guard())
}

async fn commit(store: &dyn Store, ops: Vec<Op>) -> Revision {
    match store.commit(ops).await.unwrap() {
        Committed::Done(revision) => revision,
        conflict => panic!("{conflict:?}"),
    }
}

fn labelled(value: &str) -> String {
    format!(r#"{{"metadata":{{"labels":{{"l":"{value}"}}}}}}"#)
}

/// `ADDED a@5` and so on.
async fn told(watcher: &mut Watcher, count: usize) -> Vec<String> {
    let mut lines = Vec::new();
    while lines.len() < count {
        for event in watcher.next(count - lines.len()).await.unwrap() {
            lines.push(match event {
                WatchEvent::Object { verb, object, line } => {
                    let json = String::from_utf8(object.json().to_vec()).unwrap();
                    assert_eq!(line, format!("{{\"type\":\"{}\",\"object\":{json}}}\n", verb.as_str()));
                    assert!(json.contains(&format!("\"resourceVersion\":\"{}\"", object.revision())));
                    format!("{} {}@{}", verb.as_str(), object.key(), object.revision())
                }
                WatchEvent::InitialEnd(revision) => format!("END {revision}"),
            });
        }
    }
    lines
}

#[tokio::test]
async fn serves_lists_and_watches() {
    let store: Arc<dyn Store> = Arc::new(EmbeddedStore::memory());
    let a = commit(&*store, vec![Op::create("/registry/pods/x/a", labelled("1"))]).await;
    let (cache, _stop) = started(Arc::clone(&store)).await;
    let pods = cache.resource("/registry/pods/").unwrap();
    cache.fresh().await.unwrap();
    assert_eq!(pods.get("x/a").unwrap().label("l"), Some("1"));

    let only = |value: &'static str| -> Option<Filter> {
        Some(Arc::new(move |object: &CachedObject| object.label("l") == Some(value)))
    };
    let mut all = pods.watch(WatchFrom::Initial, Scope::All, None).unwrap();
    let mut ones = pods.watch(WatchFrom::Initial, Scope::All, only("1")).unwrap();
    let mut other = pods.watch(WatchFrom::Now, Scope::Namespace("y".into()), None).unwrap();
    let mut one = pods.watch(WatchFrom::Revision(a), Scope::Object("x/a".into()), None).unwrap();

    let b = commit(&*store, vec![Op::create("/registry/pods/y/b", labelled("2"))]).await;
    let c = commit(&*store, vec![Op::update("/registry/pods/x/a", a, labelled("2"))]).await;
    let d = commit(&*store, vec![Op::update("/registry/pods/y/b", b, labelled("1"))]).await;
    let e = commit(&*store, vec![Op::delete("/registry/pods/y/b", d)]).await;
    assert_eq!(cache.fresh().await.unwrap(), e);
    assert_eq!(
        told(&mut all, 6).await,
        [
            format!("ADDED x/a@{a}"),
            format!("END {a}"),
            format!("ADDED y/b@{b}"),
            format!("MODIFIED x/a@{c}"),
            format!("MODIFIED y/b@{d}"),
            format!("DELETED y/b@{e}"),
        ]
    );
    assert_eq!(
        told(&mut ones, 5).await,
        [
            format!("ADDED x/a@{a}"),
            format!("END {a}"),
            format!("DELETED x/a@{c}"),
            format!("ADDED y/b@{d}"),
            format!("DELETED y/b@{e}"),
        ]
    );
    let of_b = [format!("ADDED y/b@{b}"), format!("MODIFIED y/b@{d}"), format!("DELETED y/b@{e}")];
    assert_eq!(told(&mut other, 3).await, of_b);
    assert_eq!(told(&mut one, 1).await, [format!("MODIFIED x/a@{c}")]);
    assert_eq!(one.bookmark(), Some(e));
    let mut again = pods.watch(WatchFrom::Revision(c), Scope::All, None).unwrap();
    assert_eq!(told(&mut again, 2).await, of_b[1..]);

    let snapshot = pods.snapshot();
    assert_eq!(snapshot.revision, e);
    assert_eq!(snapshot.objects.len(), 1);
}
