//! Controllers that end at their n-th write and are started again: whatever n is, the end must be the same.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use http::{Method, Request};
use kube::client::Body;
use tokio::sync::watch;
use tower::BoxError;

use lab::Lab;

/// Clusters side by side: they mostly wait.
const AT_ONCE: usize = 6;

/// What becomes of the write at which the controllers end.
#[derive(Clone, Copy, Debug)]
enum Last {
    /// It reaches nobody.
    Lost,
    /// It is done, and its answer reaches nobody.
    Unanswered,
}

/// How often a set of controllers has written, and whether it is over with them.
#[derive(Default)]
struct Life {
    writes: AtomicUsize,
    over: watch::Sender<bool>,
}

/// A client that reaches nobody from its `end`-th write on; writes are those whose path holds one of `counted`.
fn mortal(
    client: kube::Client,
    counted: &'static [&'static str],
    end: usize,
    last: Last,
    life: &Arc<Life>,
) -> kube::Client {
    let life = Arc::clone(life);
    let service = tower::service_fn(move |request: Request<Body>| {
        let (client, life) = (client.clone(), Arc::clone(&life));
        async move {
            let path = request.uri().path();
            let counts = request.method() != Method::GET && counted.iter().any(|part| path.contains(part));
            if *life.over.borrow() {
                return Err(BoxError::from("the process has ended"));
            }
            if counts && life.writes.fetch_add(1, Ordering::SeqCst) == end {
                life.over.send_replace(true);
                if matches!(last, Last::Unanswered) {
                    drop(client.send(request).await?);
                }
                return Err(BoxError::from("the process ends"));
            }
            client.send(request).await.map_err(BoxError::from)
        }
    });
    kube::Client::new(service, "default")
}

/// Plays a scene in a cluster of its own for each write of the controllers below these paths, with controllers that end
/// at that write, lost or unanswered, and are started again. The scene gives what is to be the same at the end.
pub async fn at_every_write<T: PartialEq + Debug>(
    counted: &'static [&'static str],
    scene: impl AsyncFn(&Lab) -> T,
) {
    let scene = &scene;
    let play = move |end: usize, last: Last| async move {
        let cluster = Lab::bare().await;
        let life = Arc::new(Life::default());
        let client = mortal(cluster.new_client().await, counted, end, last, &life);
        let mut controllers = Some(cluster.controllers_with(client, &[]).await);
        let mut over = life.over.subscribe();
        let mut played = std::pin::pin!(scene(&cluster));
        let outcome = loop {
            tokio::select! {
                outcome = &mut played => break outcome,
                _ = over.wait_for(|over| *over), if controllers.is_some() => {
                    if let Some(ended) = controllers.take() {
                        ended.abandon().await;
                    }
                    cluster.controllers(&[]).await;
                }
            }
        };
        (outcome, life.writes.load(Ordering::SeqCst))
    };
    let (undisturbed, writes) = play(usize::MAX, Last::Lost).await;
    assert!(writes > 1, "the controllers write nothing");
    let undisturbed = &undisturbed;
    let plays = (0..writes).flat_map(|end| [Last::Lost, Last::Unanswered].map(|last| (end, last)));
    let play = |(end, last)| async move {
        let played = tokio::time::timeout(Duration::from_secs(120), play(end, last)).await;
        let (outcome, _) = played.unwrap_or_else(|_| panic!("{last:?} write {end}: it never ends"));
        assert_eq!(outcome, *undisturbed, "{last:?} write {end}");
    };
    futures::stream::iter(plays).map(play).buffer_unordered(AT_ONCE).collect::<()>().await;
}
