//! The cache against a small server that answers LIST and WATCH from a script.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::{Request, Response, StatusCode};
use http_body_util::StreamBody;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;

type Body = UnsyncBoxBody<Bytes, Infallible>;

fn object(name: &str, revision: u64) -> Value {
    json!({"metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}"),
        "resourceVersion": revision.to_string(), "managedFields": [{"manager": "test"}]}, "data": {"much": "text"}})
}

fn configmap(name: &str, revision: u64) -> ConfigMap {
    serde_json::from_value(object(name, revision)).unwrap()
}

fn list(revision: u64, items: &[Value]) -> Answer {
    Answer::Whole(200, json!({"metadata": {"resourceVersion": revision.to_string()}, "items": items}))
}

fn gone() -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410,
        "message": "too old resource version"})
}

fn bookmark(revision: u64) -> Value {
    json!({"type": "BOOKMARK", "object": {"kind": "ConfigMap", "apiVersion": "v1",
        "metadata": {"resourceVersion": revision.to_string()}}})
}

fn event(kind: &str, object: Value) -> Value {
    json!({"type": kind, "object": object})
}

/// How the server answers one request.
enum Answer {
    Whole(u16, Value),
    /// Lines of a watch, for as long as the sender lives.
    Stream(mpsc::UnboundedReceiver<Value>),
}

fn stream() -> (mpsc::UnboundedSender<Value>, Answer) {
    let (send, receive) = mpsc::unbounded_channel();
    (send, Answer::Stream(receive))
}

/// A server that gives its answers in turn, and the queries it was asked.
struct Server {
    asked: Arc<Mutex<Vec<String>>>,
    cache: Cache<ConfigMap>,
    tasks: Tasks,
}

impl Server {
    async fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
        let tasks = Tasks::new();
        let (log, acceptor, stop) = (Arc::clone(&asked), tasks.clone(), tasks.token());
        tasks.spawn("test server", async move {
            loop {
                let accepted = stop.run_until_cancelled(listener.accept()).await;
                let Some(connection) = accepted.transpose()?.map(|(connection, _)| connection) else {
                    return Ok(());
                };
                let (log, answers, stop) = (Arc::clone(&log), Arc::clone(&answers), stop.clone());
                acceptor.spawn_scoped("test connection", async move {
                    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                        log.lock().push(request.uri().query().unwrap_or_default().to_owned());
                        let answer = answers.lock().pop_front();
                        async move { Ok::<_, Infallible>(respond(answer)) }
                    });
                    let connection = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(connection), service);
                    drop(stop.run_until_cancelled(connection).await); // clients may go away
                });
            }
        });
        let config = kube::Config::new(format!("http://{address}").parse().unwrap());
        let client = crate::client::from_config(&config).unwrap();
        let slim = |object: &mut ConfigMap| object.data = None;
        let cache =
            Cache::start_slim(kube::Api::<ConfigMap>::all(client), Selectors::fields("x=y"), slim, &tasks);
        Self { asked, cache, tasks }
    }

    async fn reaches(&self, revision: u64) {
        tokio::time::timeout(Duration::from_secs(10), self.cache.wait_for(revision)).await.unwrap();
    }

    fn contents(&self) -> Vec<String> {
        self.cache.list().iter().map(|object| brief(object)).collect()
    }

    /// The revisions at which watches were asked for; "list" for a list.
    fn asked(&self) -> Vec<String> {
        let revision = |query: &String| {
            assert!(query.contains("fieldSelector=x%3Dy"), "{query}");
            let watch = query.contains("watch=true").then_some(query)?;
            assert!(watch.contains("allowWatchBookmarks=true"), "{watch}");
            Some(watch.split("resourceVersion=").nth(1)?.split('&').next()?.to_owned())
        };
        self.asked.lock().iter().map(|query| revision(query).unwrap_or_else(|| "list".into())).collect()
    }

    fn changes(&self) -> Arc<Mutex<Vec<String>>> {
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = Arc::clone(&told);
        self.cache.on_change(move |change| {
            let show = |object: &Option<Arc<ConfigMap>>| object.as_deref().map_or("-".into(), brief);
            tell.lock().push(format!("{} {}", show(&change.old), show(&change.new)));
        });
        told
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

fn brief(object: &ConfigMap) -> String {
    assert!(object.metadata.managed_fields.is_none(), "managedFields are stripped");
    assert!(object.data.is_none(), "what its user does not need is stripped");
    let meta = &object.metadata;
    format!("{}@{}", meta.name.as_deref().unwrap(), meta.resource_version.as_deref().unwrap())
}

fn respond(answer: Option<Answer>) -> Response<Body> {
    let line = |value: Value| Ok(Frame::data(Bytes::from(format!("{value}\n"))));
    let (status, body) = match answer {
        None => (503, futures::stream::iter([line(json!({"code": 503}))]).boxed()),
        Some(Answer::Whole(status, value)) => (status, futures::stream::iter([line(value)]).boxed()),
        Some(Answer::Stream(lines)) => {
            let lines = futures::stream::unfold(lines, |mut lines| async move {
                lines.recv().await.map(|value| (value, lines))
            });
            (200, lines.map(line).boxed())
        }
    };
    Response::builder()
        .status(StatusCode::from_u16(status).unwrap())
        .header("content-type", "application/json")
        .body(UnsyncBoxBody::new(StreamBody::new(body)))
        .unwrap()
}

#[tokio::test]
async fn lists_then_follows() {
    let (watch, stream) = stream();
    let server = Server::start(vec![list(5, &[object("b", 3), object("a", 4)]), stream]).await;
    server.reaches(5).await;
    assert_eq!(server.contents(), ["a@4", "b@3"]);
    let told = server.changes();
    watch.send(event("ADDED", object("c", 6))).unwrap();
    watch.send(event("MODIFIED", object("a", 7))).unwrap();
    watch.send(event("DELETED", object("b", 8))).unwrap();
    watch.send(bookmark(20)).unwrap();
    server.reaches(20).await;
    assert_eq!(server.contents(), ["a@7", "c@6"]);
    assert_eq!(*told.lock(), ["- a@4", "- b@3", "- c@6", "a@4 a@7", "b@3 -"]);
    assert_eq!(server.asked(), ["list", "5"]);
    assert!(server.cache.get(Some("default"), "c").is_some() && server.cache.list_in("other").is_empty());
}

#[tokio::test]
async fn a_long_list_is_read_page_by_page() {
    let (_watch, stream) = stream();
    let mut first = json!({"metadata": {"resourceVersion": "5", "continue": "there"}});
    first["items"] = json!([object("a", 3)]);
    let lost = Answer::Whole(410, json!({"kind": "Status", "code": 410, "reason": "Expired"}));
    let last = list(7, &[object("b", 6)]);
    let answers = vec![Answer::Whole(200, first.clone()), lost, Answer::Whole(200, first), last, stream];
    let server = Server::start(answers).await;
    server.reaches(5).await;
    assert_eq!(server.contents(), ["a@3", "b@6"], "all of the list, once");
    while server.asked().len() < 5 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(
        server.asked(),
        ["list", "list", "list", "list", "5"],
        "what has changed meanwhile is watched"
    );
    let follows =
        server.asked.lock().iter().map(|query| query.contains("continue=there")).collect::<Vec<_>>();
    assert_eq!(follows[..4], [false, true, false, true], "from the start when a page is no longer to be had");
}

#[tokio::test]
async fn resumes_after_a_lost_connection_and_takes_no_event_twice() {
    let (first, one) = stream();
    let (second, two) = stream();
    let refused = Answer::Whole(503, json!({"kind": "Status", "code": 503, "reason": "ServiceUnavailable"}));
    let server = Server::start(vec![list(5, &[]), one, refused, list(7, &[]), two]).await;
    let told = server.changes();
    first.send(event("ADDED", object("a", 6))).unwrap();
    server.reaches(6).await;
    drop(first);
    second.send(event("ADDED", object("a", 6))).unwrap();
    second.send(event("MODIFIED", object("a", 9))).unwrap();
    server.reaches(9).await;
    assert_eq!(*told.lock(), ["- a@6", "a@6 a@9"]);
    assert_eq!(server.asked(), ["list", "5", "6", "list", "6"]);
}

#[tokio::test]
async fn a_lost_connection_may_end_at_a_store_that_started_anew() {
    let (first, one) = stream();
    let (_second, two) = stream();
    let refused = Answer::Whole(503, json!({"kind": "Status", "code": 503, "reason": "ServiceUnavailable"}));
    let anew = || list(2, &[object("z", 1)]);
    let server = Server::start(vec![list(5, &[object("a", 4)]), one, refused, anew(), anew(), two]).await;
    server.reaches(5).await;
    let mut changes = server.cache.subscribe();
    drop(first);
    tokio::time::timeout(Duration::from_secs(5), changes.changed()).await.unwrap();
    assert_eq!((server.contents(), server.cache.revision()), (vec!["z@1".to_owned()], 2));
}

#[tokio::test]
async fn lists_again_when_the_revision_is_forgotten_and_tells_the_difference() {
    let (first, one) = stream();
    let (_second, two) = stream();
    let (_third, three) = stream();
    let gone_at_start = Answer::Whole(410, gone());
    let server = Server::start(vec![
        list(5, &[object("a", 1), object("b", 2), object("c", 3)]),
        one,
        list(9, &[object("a", 1), object("c", 8), object("d", 7)]),
        gone_at_start,
        list(10, &[object("d", 7)]),
        two,
        three,
    ])
    .await;
    server.reaches(5).await;
    let told = server.changes();
    let mut changes = server.cache.subscribe();
    first.send(event("ERROR", gone())).unwrap();
    server.reaches(10).await;
    let after_replay: Vec<String> = told.lock()[3..].to_vec();
    assert_eq!(after_replay, ["b@2 -", "c@3 c@8", "- d@7", "a@1 -", "c@8 -"]);
    assert_eq!(server.contents(), ["d@7"]);
    tokio::time::timeout(Duration::from_secs(5), changes.changed()).await.unwrap();
}

#[tokio::test]
async fn a_store_that_started_anew_replaces_everything_and_frees_who_waits() {
    let (first, one) = stream();
    let (_second, two) = stream();
    let server =
        Server::start(vec![list(500, &[object("a", 400)]), one, list(7, &[object("z", 3)]), two]).await;
    server.reaches(500).await;
    let cache = server.cache.clone();
    let waiting = tokio::task::spawn(async move { cache.wait_for(501).await });
    tokio::task::yield_now().await;
    first.send(bookmark(7)).unwrap();
    tokio::time::timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap();
    assert_eq!((server.contents(), server.cache.revision()), (vec!["z@3".to_owned()], 7));
}

#[tokio::test]
async fn a_refused_list_is_tried_again() {
    let (_watch, one) = stream();
    let refused = || Answer::Whole(401, json!({"kind": "Status", "code": 401, "reason": "Unauthorized"}));
    let server = Server::start(vec![refused(), refused(), list(3, &[]), one]).await;
    tokio::time::timeout(Duration::from_secs(10), server.cache.wait_synced()).await.unwrap();
    assert_eq!(server.asked()[..3], ["list", "list", "list"]);
}

#[tokio::test]
async fn a_dropped_cache_stops_asking() {
    let (watch, one) = stream();
    let server = Server::start(vec![list(3, &[]), one]).await;
    server.reaches(3).await;
    let tasks = server.tasks.clone();
    let mut changes = server.cache.subscribe();
    drop(server);
    assert!(tokio::time::timeout(Duration::from_millis(20), changes.changed()).await.is_err());
    tokio::time::timeout(Duration::from_secs(5), watch.closed()).await.unwrap();
    assert!(tasks.stop_and_join(Duration::from_secs(5)).await.is_ok());
}

#[test]
fn old_news_changes_nothing() {
    let mut contents = Contents::default();
    contents.replace(vec![Arc::new(configmap("a", 5))], 10);
    assert!(contents.apply(Arc::new(configmap("a", 5)), false).is_none());
    assert!(contents.apply(Arc::new(configmap("a", 4)), true).is_none());
    assert!(contents.apply(Arc::new(configmap("b", 9)), false).is_none(), "deleted before the list was made");
    assert_eq!((contents.revision(), contents.len()), (10, 1));
    assert!(contents.apply(Arc::new(configmap("a", 11)), true).is_some());
    assert_eq!((contents.revision(), contents.len()), (11, 0));
}
