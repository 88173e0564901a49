//! A thousand watchers of one resource: who reads sees exactly its changes, whatever others do.

use std::sync::Arc;

use futures::future::{join_all, try_join_all};
use tokio::sync::watch;

use super::{
    super::{object::Verb, *},
    history::{Truth, expected, label_of, object},
    spec,
};
use crate::store::{Committed, EmbeddedStore, Op};

const PREFIX: &str = "/registry/pods/";
const WATCHERS: usize = 1000;
/// Of those, the ones that never read.
const DEAF: usize = 20;
const WRITERS: u8 = 5;
const EACH: u8 = 10;
/// More than a watcher may lag behind.
const FLOOD: usize = 5000;

/// What a watcher has been told, up to a revision that comes later.
async fn follow(
    mut watcher: Watcher,
    mut last: watch::Receiver<Revision>,
) -> Result<Vec<(Verb, String, Revision)>, Ended> {
    let mut told = Vec::new();
    while watcher.bookmark().is_none_or(|known| known < *last.borrow()) {
        tokio::select! {
            events = watcher.next(7) => for event in events? {
                let WatchEvent::Object { verb, object, .. } = event else { panic!("nothing was to be listed") };
                told.push((verb, object.key().to_owned(), object.revision()));
            },
            Ok(()) = last.changed() => {}
        }
    }
    Ok(told)
}

/// Two pods of a writer's own come, change their label and go.
async fn write(store: Arc<dyn Store>, writer: u8) -> Truth {
    let mut truth = Truth::new();
    let mut seen: [Option<Revision>; 2] = [None; 2];
    for i in 0..EACH {
        let which = usize::from(i % 2);
        let name = format!("n{}/w{writer}-{which}", writer % 3);
        let (key, label) = (format!("{PREFIX}{name}"), (writer + i / 2) % 4);
        let gone = i == EACH - 3;
        let op = match seen[which] {
            None => Op::create(key, object(label)),
            Some(before) if gone => Op::delete(key, before),
            Some(before) => Op::update(key, before, object(label)),
        };
        let Committed::Done(revision) = store.commit(vec![op]).await.unwrap() else { panic!("its own pod") };
        seen[which] = (!gone).then_some(revision);
        truth.push((name, revision, (!gone).then_some(label)));
        tokio::task::yield_now().await;
    }
    truth
}

/// More than anybody can remember who does not read, where only those look.
async fn flood(store: Arc<dyn Store>) {
    for start in (0..FLOOD).step_by(100) {
        let ops = (start..start + 100).map(|i| Op::create(format!("{PREFIX}flood/{i}"), object(9)));
        let committed = store.commit(ops.collect()).await.unwrap();
        assert!(matches!(committed, Committed::Done(_)), "{committed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_watchers_see_what_is_theirs() {
    let store: Arc<dyn Store> = Arc::new(EmbeddedStore::memory());
    let cache = WatchCache::load(Arc::clone(&store), [spec(PREFIX)]).await.unwrap();
    let stop = CancellationToken::new();
    let feeder = tokio::spawn(Arc::clone(&cache).run(stop.clone()));
    let begin = cache.fresh().await.unwrap();
    let pods = cache.resource(PREFIX).unwrap();

    let watch_from = |i: usize| if i.is_multiple_of(3) { WatchFrom::Now } else { WatchFrom::Revision(begin) };
    let mut deaf: Vec<Watcher> =
        (0..DEAF).map(|i| pods.watch(watch_from(i), Scope::All, None).unwrap()).collect();
    let (last, until) = watch::channel(Revision::MAX);
    let readers: Vec<_> = (DEAF..WATCHERS)
        .map(|i| {
            // Half of them have selectors, and of those a few look at all namespaces.
            let labels =
                if i.is_multiple_of(2) { vec![u8::try_from(i / 2 % 4).unwrap()] } else { vec![0, 1, 2, 3] };
            let scope = match i {
                _ if i.is_multiple_of(20) => Scope::All,
                _ if i % 20 == 1 => Scope::Object(format!("n1/w1-{}", i / 20 % 2)),
                _ => Scope::Namespace(format!("n{}", i % 3)),
            };
            let wanted = labels.clone();
            let filter = i.is_multiple_of(2).then(|| -> Filter {
                Arc::new(move |o: &CachedObject| label_of(o).is_some_and(|l| wanted.contains(&l)))
            });
            let watcher = pods.watch(watch_from(i), scope.clone(), filter).unwrap();
            (scope, labels, tokio::spawn(follow(watcher, until.clone())))
        })
        .collect();

    let flooding = tokio::spawn(flood(Arc::clone(&store)));
    let writers = (0..WRITERS).map(|writer| tokio::spawn(write(Arc::clone(&store), writer)));
    let mut truth: Truth = try_join_all(writers).await.unwrap().concat();
    flooding.await.unwrap();
    truth.sort_by_key(|(_, revision, _)| *revision);
    assert_eq!(truth.len(), usize::from(WRITERS * EACH));
    let end = cache.fresh().await.unwrap();
    last.send_replace(end);

    let (what, tasks): (Vec<_>, Vec<_>) =
        readers.into_iter().map(|(scope, labels, task)| ((scope, labels), task)).unzip();
    let told = tokio::time::timeout(Duration::from_secs(60), join_all(tasks)).await.expect("all have read");
    let mut seen = 0;
    for ((scope, labels), told) in what.into_iter().zip(told) {
        let told = told.unwrap().expect("who reads is not cut off");
        assert_eq!(told, expected(&truth, &scope, &labels, begin, end), "{scope:?} {labels:?}");
        seen += told.len();
    }
    assert!(seen > WATCHERS, "they saw something: {seen}");
    for watcher in &mut deaf {
        assert_eq!(watcher.next(1).await.unwrap_err(), Ended::TooSlow);
    }
    stop.cancel();
    feeder.await.unwrap().unwrap();
}
