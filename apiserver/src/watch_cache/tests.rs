//! The cache against a store, seen from outside.
#![allow(clippy::unwrap_used)]

mod history;
mod many;

use super::{resource::Expired, *};
use crate::store::{Committed, EmbeddedStore, Op};

fn spec(prefix: &str) -> ResourceSpec {
    ResourceSpec { prefix: prefix.into(), fields: None, read: None }
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

#[tokio::test]
async fn cuts_off_who_does_not_keep_up_and_forgets_what_is_old() {
    let store: Arc<dyn Store> = Arc::new(EmbeddedStore::memory());
    let (cache, _stop) = started(Arc::clone(&store)).await;
    let pods = cache.resource("/registry/pods/").unwrap();
    let mut slow = pods.watch(WatchFrom::Now, Scope::All, None).unwrap();
    let mut picky = pods
        .watch(WatchFrom::Now, Scope::All, Some(Arc::new(|o: &CachedObject| o.name() == "none")))
        .unwrap();
    let first = commit(&*store, vec![Op::create("/registry/pods/x/a", labelled("1"))]).await;
    let mut last = first;
    for _ in 0..5000 {
        last = commit(&*store, vec![Op::update("/registry/pods/x/a", last, labelled("1"))]).await;
        if last % 500 == 0 {
            cache.fresh().await.unwrap();
        }
    }
    cache.fresh().await.unwrap();
    assert_eq!(slow.next(1).await.unwrap_err(), Ended::TooSlow);
    assert_eq!(slow.bookmark(), None);
    assert_eq!(picky.bookmark(), Some(last));
    let expired = pods.watch(WatchFrom::Revision(first), Scope::All, None).err().unwrap();
    assert_eq!(expired, Expired { asked: first, oldest: expired.oldest });
    let mut oldest = pods.watch(WatchFrom::Revision(expired.oldest), Scope::All, None).unwrap();
    assert_eq!(told(&mut oldest, 1).await, [format!("MODIFIED x/a@{}", expired.oldest + 1)]);
    // A resource where nothing happened has forgotten nothing.
    let nodes = cache.resource("/registry/nodes/").unwrap();
    assert!(nodes.watch(WatchFrom::Revision(first), Scope::All, None).is_ok());
    commit(&*store, vec![Op::create("/registry/pods/x/none", labelled("1"))]).await;
    assert_eq!(told(&mut picky, 1).await, [format!("ADDED x/none@{}", last + 1)]);
}

#[tokio::test]
async fn resources_come_and_go() {
    let store: Arc<dyn Store> = Arc::new(EmbeddedStore::memory());
    let key = "/registry/example.com/widgets/x/w";
    let first = commit(&*store, vec![Op::create(key, labelled("1"))]).await;
    let (cache, _stop) = started(Arc::clone(&store)).await;
    let second = commit(&*store, vec![Op::update(key, first, labelled("2"))]).await;
    cache.fresh().await.unwrap();
    let widgets = cache.add(spec("/registry/example.com/widgets/"));
    assert_eq!(widgets.get("x/w").unwrap().label("l"), Some("2"));
    let mut watcher = widgets.watch(WatchFrom::Initial, Scope::All, None).unwrap();
    assert_eq!(told(&mut watcher, 2).await, [format!("ADDED x/w@{second}"), format!("END {second}")]);
    cache.remove("/registry/example.com/widgets/");
    assert_eq!(watcher.next(1).await.unwrap_err(), Ended::Removed);
    assert!(cache.resource("/registry/example.com/widgets/").is_none());
    let widgets = cache.add(spec("/registry/example.com/widgets/"));
    let json = widgets.get("x/w").unwrap().json();
    assert_eq!(
        json,
        labelled("2").replace(r#"{"labels"#, &format!(r#"{{"resourceVersion":"{second}","labels"#))
    );
    commit(&*store, vec![Op::delete(key, second)]).await;
    cache.fresh().await.unwrap();
    assert!(widgets.get("x/w").is_none());
}

#[tokio::test]
async fn watches_and_pages_go_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(&path).unwrap());
    let first = commit(&*store, vec![Op::create("/registry/pods/x/a", labelled("1"))]).await;
    let second = commit(&*store, vec![Op::update("/registry/pods/x/a", first, labelled("2"))]).await;
    let third = commit(&*store, vec![Op::delete("/registry/pods/x/a", second)]).await;
    drop(store);
    let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(&path).unwrap());
    let (cache, _stop) = started(store).await;
    cache.fresh().await.unwrap();
    let pods = cache.resource("/registry/pods/").unwrap();
    let mut watcher = pods.watch(WatchFrom::Revision(first), Scope::All, None).unwrap();
    assert_eq!(
        told(&mut watcher, 2).await,
        [format!("MODIFIED x/a@{second}"), format!("DELETED x/a@{third}")]
    );
    let old = cache.snapshot_at(&pods, second).await.unwrap().unwrap();
    assert_eq!((old.revision, old.objects.len()), (second, 1));
    assert_eq!(cache.snapshot_at(&pods, third).await.unwrap().unwrap().objects.len(), 0);
    // It is kept for the next page, and no longer than that, however often somebody asks.
    let in_seconds = |seconds| Instant::now() + Duration::from_secs(seconds);
    pods.keep(&old);
    assert!(pods.kept(second, in_seconds(5)).is_some());
    assert!(pods.kept(second, in_seconds(11)).is_none());
    let present = pods.snapshot();
    pods.keep(&present);
    assert!(pods.kept(present.revision, in_seconds(295)).is_some());
    pods.keep(&present);
    assert!(pods.kept(present.revision, in_seconds(301)).is_none());
}

#[tokio::test]
async fn what_cannot_be_read_is_not_told_as_gone() {
    let store: Arc<dyn Store> = Arc::new(EmbeddedStore::memory());
    let a = commit(&*store, vec![Op::create("/registry/pods/x/a", labelled("1"))]).await;
    commit(&*store, vec![Op::create("/registry/pods/y/b", "")]).await;
    let (cache, _stop) = started(Arc::clone(&store)).await;
    let pods = cache.resource("/registry/pods/").unwrap();
    cache.fresh().await.unwrap();
    let unread = |scope: Scope| pods.snapshot().objects.unread(&scope).map(str::to_owned);
    let (x, y) = (Scope::Namespace("x".into()), Scope::Namespace("y".into()));
    assert_eq!(unread(Scope::All).as_deref(), Some("y/b"));
    assert_eq!((unread(x.clone()), unread(y.clone()).as_deref()), (None, Some("y/b")));
    assert_eq!(unread(Scope::Object("y/b".into())).as_deref(), Some("y/b"));
    assert_eq!(unread(Scope::Object("y/a".into())), None);

    let mut watcher = pods.watch(WatchFrom::Now, x.clone(), None).unwrap();
    let b = commit(&*store, vec![Op::update("/registry/pods/x/a", a, "no object")]).await;
    cache.fresh().await.unwrap();
    assert_eq!(watcher.next(9).await.unwrap_err(), Ended::Expired);
    assert!(pods.watch(WatchFrom::Revision(a), Scope::All, None).is_err());
    assert!(pods.get("x/a").is_none() && !pods.is_empty());
    assert_eq!(unread(x.clone()).as_deref(), Some("x/a"));
    // It is kept in mind when the resource is seen in another way.
    cache.replace(spec("/registry/pods/"));
    let pods = cache.resource("/registry/pods/").unwrap();
    let unread = |scope: Scope| pods.snapshot().objects.unread(&scope).map(str::to_owned);
    assert_eq!((unread(x.clone()).as_deref(), unread(y).as_deref()), (Some("x/a"), Some("y/b")));
    // Until somebody writes it, or takes it away.
    commit(&*store, vec![Op::update("/registry/pods/x/a", b, labelled("2"))]).await;
    cache.fresh().await.unwrap();
    assert_eq!((unread(x), pods.get("x/a").unwrap().label("l")), (None, Some("2")));
    let found = store.get("/registry/pods/y/b").await.unwrap().unwrap();
    commit(&*store, vec![Op::delete("/registry/pods/y/b", found.revision)]).await;
    cache.fresh().await.unwrap();
    assert_eq!(unread(Scope::All), None);
}
