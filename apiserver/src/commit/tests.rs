#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::json;

use super::*;
use crate::{Api, harness::Server, resources::CONFIG_MAPS};

const MARK: &str = "/registry/skiff/test/mark";
const COUNT: &str = "/registry/skiff/test/count";

/// Adds a key of its own.
struct Marks;

#[async_trait]
impl Rider for Marks {
    async fn operations(&mut self, write: &Write<'_>) -> Result<Vec<Op>, Status> {
        Ok(vec![Op::create(format!("{MARK}/{}", write.new.name()), "marked")])
    }
}

/// Counts new objects up to a limit, in a key that others count in, too.
struct Counts {
    limit: u64,
    /// How often somebody else counts between reading and writing.
    disturbed: u64,
    conflicts: Arc<Mutex<Vec<usize>>>,
}

impl Counts {
    fn up_to(limit: u64) -> Box<dyn Rider> {
        Box::new(Self { limit, disturbed: 0, conflicts: Arc::default() })
    }
}

#[async_trait]
impl Rider for Counts {
    async fn operations(&mut self, write: &Write<'_>) -> Result<Vec<Op>, Status> {
        let store = &write.ctx.api.store;
        let found = store.get(COUNT).await?.unwrap();
        let used: u64 = serde_json::from_slice(&found.value).map_err(Status::internal)?;
        if used >= self.limit {
            return Err(Status::forbidden("configmaps", "", write.new.name(), "exceeded"));
        }
        let more = |revision| Op::update(COUNT, revision, (used + 1).to_string());
        if self.disturbed > 0 {
            self.disturbed -= 1;
            store.commit(vec![more(found.revision)]).await?;
        }
        Ok(vec![more(found.revision)])
    }

    async fn conflict(&mut self, _write: &mut Write<'_>, index: usize) -> Result<(), Status> {
        self.conflicts.lock().push(index);
        Ok(())
    }
}

async fn server() -> (Server, Arc<Api>) {
    let mut started = None;
    let server = Server::start_as(
        |_| {},
        async |config, tasks| {
            let api = crate::start(config, &tasks).await.unwrap();
            started = Some(api.clone());
            api
        },
    )
    .await;
    let api = started.unwrap();
    api.store.commit(vec![Op::create(COUNT, "0")]).await.unwrap();
    (server, api)
}

fn named(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}})
}

async fn used(api: &Api) -> String {
    String::from_utf8(api.store.get(COUNT).await.unwrap().unwrap().value.to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rider_in_conflict_looks_again_and_all_is_written_at_once() {
    let (server, api) = server().await;
    let ctx = Ctx::internal(&api, CONFIG_MAPS, Some("default"), None).unwrap();
    let conflicts: Arc<Mutex<Vec<usize>>> = Arc::default();
    let counts = |limit, disturbed| {
        let counts = Counts { limit, disturbed, conflicts: conflicts.clone() };
        [Box::new(Marks) as Box<dyn Rider>, Box::new(counts)]
    };
    let mut write = Write::create(&ctx, named("a"));
    let outcome = commit(&mut write, &mut counts(9, 2)).await.unwrap();
    let Outcome::Done(revision) = outcome else { panic!("{outcome:?}") };
    assert_eq!((used(&api).await.as_str(), conflicts.lock().as_slice()), ("3", &[0, 0][..]));
    for key in ["/registry/configmaps/default/a", "/registry/skiff/test/mark/a", COUNT] {
        assert_eq!(api.store.get(key).await.unwrap().unwrap().revision, revision, "{key}");
    }
    // Somebody else takes the last place in between.
    let refused = commit(&mut Write::create(&ctx, named("b")), &mut counts(4, 1)).await.unwrap_err();
    assert_eq!((refused.code, used(&api).await.as_str()), (403, "4"));
    let mut dry = Write::create(&ctx, named("b"));
    dry.dry_run = true;
    assert_eq!(commit(&mut dry, &mut counts(9, 0)).await, Ok(Outcome::Tried));
    assert_eq!(commit(&mut dry, &mut counts(4, 0)).await.unwrap_err().code, 403);
    for key in ["/registry/configmaps/default/b", "/registry/skiff/test/mark/b"] {
        assert_eq!(api.store.get(key).await.unwrap(), None, "{key}");
    }
    // The object itself is not the riders' affair.
    for dry_run in [false, true] {
        let mut again = Write::create(&ctx, named("a"));
        again.dry_run = dry_run;
        let outcome = commit(&mut again, &mut counts(9, 0)).await.unwrap();
        assert!(matches!(outcome, Outcome::Conflict(Some(_))), "{outcome:?}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_holds_however_many_write_at_once() {
    let (server, api) = server().await;
    let ctx = Ctx::internal(&api, CONFIG_MAPS, Some("default"), None).unwrap();
    let writes = (0..16).map(|i| {
        let ctx = &ctx;
        async move {
            let mut write = Write::create(ctx, named(&format!("c{i}")));
            commit(&mut write, &mut [Counts::up_to(5)]).await
        }
    });
    let outcomes = futures::future::join_all(writes).await;
    let done = outcomes.iter().filter(|outcome| matches!(outcome, Ok(Outcome::Done(_)))).count();
    let refused = outcomes.iter().filter(|outcome| outcome.as_ref().is_err_and(|s| s.code == 403)).count();
    assert_eq!((done, refused, used(&api).await.as_str()), (5, 11, "5"));
    server.stop().await;
}
