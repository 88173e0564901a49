//! Everything that clients see is one history: concurrent clients, restarts of the server, every answer checked.
//!
//! Clients create, read, update, delete, list and watch a few keys over HTTP while the server is stopped, gracefully
//! or in the middle of things, and started again on the same store. One watch from the first revision on (resumed
//! after every restart, as informers do) gives the history; each write, read and list must be found in it, at its
//! revision, and not before what was known when it was asked.
//! `SKIFF_LINEARIZABILITY_SECONDS` makes it run longer.

#![allow(clippy::disallowed_methods, reason = "tests start tasks and programs of their own")]
#![allow(clippy::unwrap_used, missing_docs)]

mod harness;

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use harness::{etcd::Etcd, raw};
use http::StatusCode;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use machinery::tasks::Tasks;
use parking_lot::Mutex;
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const KEYS: usize = 4;
const CLIENTS: usize = 6;
/// How much longer a run may take than asked for, until it could tell anything.
const PATIENCE: Duration = Duration::from_secs(60);

fn seconds() -> u64 {
    std::env::var("SKIFF_LINEARIZABILITY_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(4)
}

/// One state of one key: its revision and what it holds; `None` for none.
type Content = Option<String>;

/// What a client learned, and the newest revision that anybody had learned of when it asked.
#[derive(Debug)]
enum Seen {
    /// A write that was answered: the key holds this from this revision on.
    Wrote { key: String, revision: u64, content: Content },
    /// A read.
    Read { key: String, known: u64, found: Option<(u64, String)> },
    /// A list at a revision.
    Listed { known: u64, revision: u64, found: BTreeMap<String, (u64, String)> },
    /// A watch from a revision on, up to the last event it told.
    Watched { from: u64, events: Vec<Event> },
    /// A write that was not answered; it may have happened.
    Unknown { content: Content },
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Event {
    key: String,
    revision: u64,
    content: Content,
}

struct World {
    /// Of the servers, of which one or another may just be away.
    ports: Vec<AtomicU16>,
    /// The newest revision that some answer has told of.
    known: AtomicU64,
    over: AtomicBool,
    /// Up to where watches are to be told, when it is over. What some answer tells of may lie behind: lists are of
    /// revisions that wrote other objects.
    last: AtomicU64,
    seen: Mutex<Vec<Seen>>,
}

impl World {
    /// Of any of the servers.
    fn port(&self) -> u16 {
        self.ports[rand::random_range(0..self.ports.len())].load(Ordering::SeqCst)
    }

    fn learn(&self, revision: u64) {
        self.known.fetch_max(revision, Ordering::SeqCst);
    }

    fn note(&self, seen: Seen) {
        self.seen.lock().push(seen);
    }

    fn over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }
}

fn revision(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

fn content(object: &Value) -> String {
    object["data"]["v"].as_str().unwrap_or_default().to_owned()
}

fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap().to_owned()
}

/// A connection that is made anew when it breaks.
struct Connection {
    world: Arc<World>,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Connection {
    /// The answer's code and body; `None` when there was none.
    async fn ask(
        &mut self,
        method: &str,
        path: &str,
        media: &str,
        body: String,
    ) -> Option<(StatusCode, Value)> {
        // Now and then another server is asked.
        if self.sender.as_ref().is_none_or(SendRequest::is_closed) || rand::random_ratio(1, 20) {
            self.sender = raw::try_http1(self.world.port()).await;
        }
        let request = raw::request(method, path, &[("content-type", media)], body);
        let asking = async {
            let sender = self.sender.as_mut()?;
            sender.ready().await.ok()?;
            let answer = sender.send_request(request).await.ok()?;
            let code = answer.status();
            let bytes = answer.into_body().collect().await.ok()?.to_bytes();
            Some((code, serde_json::from_slice(&bytes).ok()?))
        };
        let answered = tokio::time::timeout(Duration::from_secs(20), asking).await.expect("no request hangs");
        if answered.is_none() {
            self.sender = None;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        answered
    }
}

async fn client(world: Arc<World>, id: u64, seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed ^ id);
    let mut connection = Connection { world: world.clone(), sender: None };
    let mut count = 0_u64;
    while !world.over() {
        count += 1;
        let key = format!("k{}", random.random_range(0..KEYS));
        let path = format!("{MAPS}/{key}");
        let value = format!("{id}.{count}");
        let known = world.known.load(Ordering::SeqCst);
        let json = "application/json";
        match random.random_range(0..10) {
            0 | 1 => {
                let body = json!({"metadata": {"name": key}, "data": {"v": value}}).to_string();
                let answer = connection.ask("POST", MAPS, json, body).await;
                wrote(&world, key, Some(value), answer);
            }
            2..=4 => {
                let body = json!({"data": {"v": value}}).to_string();
                let answer = connection.ask("PATCH", &path, "application/merge-patch+json", body).await;
                wrote(&world, key, Some(value), answer);
            }
            5 => deleted(&world, connection.ask("DELETE", &path, json, String::new()).await),
            6..=8 => {
                let Some((code, object)) = connection.ask("GET", &path, json, String::new()).await else {
                    continue;
                };
                let found = match code.as_u16() {
                    200 => Some((revision(&object), content(&object))),
                    404 => None,
                    // On its way out, or the store is not there: it says so and shows nothing.
                    503 | 504 => continue,
                    other => panic!("{other}: {object}"),
                };
                if let Some((revision, _)) = &found {
                    world.learn(*revision);
                }
                world.note(Seen::Read { key, known, found });
            }
            _ => {
                let Some((code, list)) = connection.ask("GET", MAPS, json, String::new()).await else {
                    continue;
                };
                if code != StatusCode::OK {
                    assert!(matches!(code.as_u16(), 503 | 504), "{code}: {list}");
                    continue;
                }
                let revision = revision(&list);
                world.learn(revision);
                let items = list["items"].as_array().unwrap().iter();
                let found = items.map(|o| (name(o), (self::revision(o), content(o)))).collect();
                world.note(Seen::Listed { known, revision, found });
            }
        }
    }
}

fn wrote(world: &World, key: String, content: Content, answer: Option<(StatusCode, Value)>) {
    match answer {
        None => world.note(Seen::Unknown { content }),
        Some((code, object)) => match code.as_u16() {
            200 | 201 => {
                let revision = revision(&object);
                world.learn(revision);
                world.note(Seen::Wrote { key, revision, content });
            }
            404 | 409 => {}
            // The store's answer may have been lost.
            500 | 503 | 504 => world.note(Seen::Unknown { content }),
            other => panic!("{other}: {object}"),
        },
    }
}

fn deleted(world: &World, answer: Option<(StatusCode, Value)>) {
    // The answer to a deletion does not name its revision, so that the history alone tells of it.
    if answer.as_ref().is_none_or(|(code, _)| *code != StatusCode::NOT_FOUND) {
        world.note(Seen::Unknown { content: None });
    }
}

/// Watches from a revision on, going on after every end, until all has been told up to the last revision.
async fn watch(world: Arc<World>, mut from: u64, restart_at_random: Option<u64>) {
    let mut random = restart_at_random.map(SmallRng::seed_from_u64);
    let mut events = Vec::new();
    let begin = from;
    loop {
        let port = world.port();
        // One watch of many begins again after a while, somewhere in the past.
        let seconds = if random.is_some() { "1" } else { "30" };
        let path = format!("{MAPS}?watch=true&resourceVersion={from}&timeoutSeconds={seconds}");
        let opened = async {
            let mut sender = raw::try_http1(port).await?;
            sender.send_request(raw::request("GET", &path, &[], "")).await.ok()
        };
        let Some(answer) = opened.await.filter(|a| a.status() == StatusCode::OK) else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        let mut body = answer.into_body();
        let mut text = Vec::new();
        loop {
            let complete = from >= world.last.load(Ordering::SeqCst);
            let frame =
                tokio::time::timeout(Duration::from_millis(if complete { 100 } else { 500 }), body.frame());
            match frame.await {
                Ok(Some(Ok(frame))) => text.extend_from_slice(frame.data_ref().unwrap()),
                Ok(Some(Err(_)) | None) => break,
                Err(_) if complete => {
                    world.note(Seen::Watched { from: begin, events });
                    return;
                }
                Err(_) => {}
            }
            while let Some(end) = text.iter().position(|b| *b == b'\n') {
                let line: Value = serde_json::from_slice(&text[..end]).unwrap();
                text.drain(..=end);
                let object = &line["object"];
                let kind = line["type"].as_str().unwrap();
                assert_ne!(kind, "ERROR", "no watch falls behind here: {object}");
                let content = (kind != "DELETED").then(|| content(object));
                from = revision(object);
                world.learn(from);
                events.push(Event { key: name(object), revision: from, content });
            }
        }
        if let Some(random) = &mut random
            && !world.over()
        {
            // Tell what was seen, and begin again from something seen before.
            world.note(Seen::Watched { from: begin, events: events.clone() });
            // Not too far back: a server that was started again remembers the last thousand revisions.
            let back = random.random_range(0..=events.len().min(200));
            let again = events.get(events.len() - back).map_or(from, |e| e.revision);
            events.retain(|e| e.revision <= again);
            from = again;
        }
    }
}

/// Everything that was seen against the history that one watch told.
fn check(begin: u64, initial: &BTreeMap<String, (u64, String)>, seen: &[Seen], history: &[Event]) {
    assert!(
        history.windows(2).all(|w| w[0].revision < w[1].revision),
        "revisions only grow, and none is told twice"
    );
    let at: HashMap<u64, &Event> = history.iter().map(|e| (e.revision, e)).collect();
    // The states of each key by revision.
    let mut states: HashMap<&str, Vec<(u64, Content)>> = HashMap::new();
    for (key, (revision, content)) in initial {
        states.entry(key).or_default().push((*revision, Some(content.clone())));
    }
    for event in history {
        states.entry(&event.key).or_default().push((event.revision, event.content.clone()));
    }
    let state_at = |key: &str, revision: u64| -> Option<(u64, String)> {
        let (since, content) = states.get(key)?.iter().rev().find(|(r, _)| *r <= revision)?;
        content.clone().map(|content| (*since, content))
    };
    let mut written: HashMap<&str, usize> = HashMap::new();
    for one in seen {
        match one {
            Seen::Wrote { key, revision, content } => {
                let event =
                    at.get(revision).unwrap_or_else(|| panic!("a write that was answered is lost: {one:?}"));
                assert_eq!((&event.key, &event.content), (key, content), "{one:?}");
                *written.entry(content.as_deref().unwrap()).or_default() += 1;
            }
            Seen::Unknown { content: Some(content), .. } => *written.entry(content).or_default() += 1,
            Seen::Unknown { .. } => {}
            Seen::Read { key, known, found: Some((revision, content)) } => {
                let state = state_at(key, *revision);
                assert_eq!(
                    state.as_ref(),
                    Some(&(*revision, content.clone())),
                    "read what never was: {one:?}"
                );
                let current = state_at(key, *known);
                assert!(current.is_none_or(|(since, _)| since <= *revision), "a stale read: {one:?}");
            }
            Seen::Read { key, known, found: None } => {
                // It was absent when it was asked for, or at some time since.
                let absent_since = |(r, c): &(u64, Content)| *r > *known && c.is_none();
                let later = states.get(key.as_str()).is_some_and(|all| all.iter().any(absent_since));
                assert!(state_at(key, *known).is_none() || later, "not found, but it was there: {one:?}");
            }
            Seen::Listed { known, revision, found } => {
                assert!(revision >= known, "a stale list: {one:?}");
                for key in (0..KEYS).map(|k| format!("k{k}")) {
                    assert_eq!(found.get(&key).cloned(), state_at(&key, *revision), "{key} in {one:?}");
                }
            }
            Seen::Watched { from, events } => {
                let last = events.last().map_or(*from, |e| e.revision);
                let expected: Vec<&Event> =
                    history.iter().filter(|e| e.revision > *from && e.revision <= last).collect();
                assert_eq!(
                    events.iter().collect::<Vec<_>>(),
                    expected,
                    "a watch from {from} tells another story"
                );
            }
        }
    }
    // Nothing came from nowhere, and nothing happened twice.
    for event in history.iter().filter(|e| e.revision > begin) {
        if let Some(content) = &event.content {
            let written = written.get(content.as_str()).copied().unwrap_or(0);
            assert!(written > 0, "nobody wrote {event:?}");
            assert_eq!(
                history.iter().filter(|e| e.content.as_ref() == Some(content)).count(),
                1,
                "{event:?}"
            );
        }
    }
}

/// A server that can be stopped and started again on the same store.
struct Restarts {
    folder: tempfile::TempDir,
    store: String,
    running: Option<(Tasks, tokio::runtime::Runtime)>,
}

impl Restarts {
    async fn start(&mut self) -> u16 {
        machinery::tls::use_ring();
        let tasks = Tasks::new();
        let mut config = harness::config(self.folder.path());
        config.store = self.store.parse().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let owner = tasks.clone();
        let started = runtime.spawn(async move {
            let api = apiserver::start(config, &owner).await.unwrap();
            while api.bootstrapped().is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            api.port()
        });
        self.running = Some((tasks, runtime));
        started.await.unwrap()
    }

    /// Ends the server; without grace, wherever it stands.
    async fn stop(&mut self, gracefully: bool) {
        let (tasks, runtime) = self.running.take().unwrap();
        if gracefully {
            runtime.spawn(tasks.stop_and_join(Duration::from_secs(10))).await.unwrap().unwrap();
        } else {
            drop(tasks);
        }
        tokio::task::spawn_blocking(move || runtime.shutdown_timeout(Duration::from_secs(10))).await.unwrap();
    }
}

async fn run(store: String, count: usize, seed: u64, mut shake: impl AsyncFnMut()) {
    println!("seed {seed}");
    let server = || Restarts { folder: tempfile::tempdir().unwrap(), store: store.clone(), running: None };
    let mut servers: Vec<_> = std::iter::repeat_with(server).take(count).collect();
    let ports = futures::future::join_all(servers.iter_mut().map(Restarts::start)).await;
    let world = Arc::new(World {
        ports: ports.into_iter().map(AtomicU16::new).collect(),
        known: AtomicU64::new(0),
        over: AtomicBool::new(false),
        last: AtomicU64::new(u64::MAX),
        seen: Mutex::default(),
    });
    let mut first = Connection { world: world.clone(), sender: None };
    let (_, list) = first.ask("GET", MAPS, "application/json", String::new()).await.unwrap();
    let begin = revision(&list);
    let initial: BTreeMap<String, (u64, String)> = BTreeMap::new();
    world.learn(begin);
    let historian = tokio::spawn(watch(world.clone(), begin, None));
    let others: Vec<_> =
        (0..2).map(|i| tokio::spawn(watch(world.clone(), begin, Some(seed.wrapping_add(i))))).collect();
    let clients: Vec<_> =
        (0..CLIENTS).map(|id| tokio::spawn(client(world.clone(), id as u64, seed))).collect();
    let end = Instant::now() + Duration::from_secs(seconds());
    let mut random = SmallRng::seed_from_u64(seed);
    let mut restarts = 0;
    let answered = |seen: &[Seen]| seen.iter().filter(|s| matches!(s, Seen::Wrote { .. })).count();
    let told_enough = |restarts| restarts > 2 && answered(&world.seen.lock()) > 50;
    // A busy machine takes longer, until it could tell anything.
    while Instant::now() < end || (Instant::now() < end + PATIENCE && !told_enough(restarts)) {
        tokio::time::sleep(Duration::from_millis(random.random_range(100..600))).await;
        // Under the servers, too, while they work.
        shake().await;
        let which = random.random_range(0..count);
        servers[which].stop(random.random_bool(0.5)).await;
        shake().await;
        world.ports[which].store(servers[which].start().await, Ordering::SeqCst);
        restarts += 1;
    }
    world.over.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    // Whatever happened unanswered is over once something is written behind it.
    let body = json!({"metadata": {"name": "last"}, "data": {"v": "last"}}).to_string();
    let last = loop {
        wrote(
            &world,
            "last".to_owned(),
            Some("last".to_owned()),
            first.ask("POST", MAPS, "application/json", body.clone()).await,
        );
        let found = first.ask("GET", &format!("{MAPS}/last"), "application/json", String::new()).await;
        if let Some((StatusCode::OK, object)) = found {
            break revision(&object);
        }
    };
    world.last.store(last, Ordering::SeqCst);
    historian.await.unwrap();
    for other in others {
        other.await.unwrap();
    }
    for mut server in servers {
        server.stop(true).await;
    }
    let mut seen = std::mem::take(&mut *world.seen.lock());
    let longest = |s: &Seen| {
        if let Seen::Watched { from, events } = s { (*from == begin, events.len()) } else { (false, 0) }
    };
    let history = match seen.iter().max_by_key(|s| longest(s)) {
        Some(Seen::Watched { events, .. }) => events.clone(),
        _ => panic!("no watch told anything"),
    };
    let answered = answered(&seen);
    println!(
        "{} events, {answered} answered writes, {} observations, {restarts} restarts",
        history.len(),
        seen.len()
    );
    assert!(answered > 50 && restarts > 2, "too little happened to tell anything");
    check(begin, &initial, &seen, &history);
    // The check can fail: without an event that somebody was told of, there is no such history.
    let told =
        seen.iter().find_map(|s| if let Seen::Wrote { revision, .. } = s { Some(*revision) } else { None });
    let wrong: Vec<Event> = history.into_iter().filter(|e| Some(e.revision) != told).collect();
    seen.retain(|s| !matches!(s, Seen::Watched { .. }));
    assert!(std::panic::catch_unwind(|| check(begin, &initial, &seen, &wrong)).is_err());
}

fn seed() -> u64 {
    std::env::var("SKIFF_LINEARIZABILITY_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random)
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("store");
    run(format!("file:{}", path.display()), 1, seed(), async || {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_etcd_that_is_killed_too() {
    let Some(mut etcd) = Etcd::start().await else { return };
    let mut round = 0;
    run(format!("etcd:{}", etcd.endpoint()), 1, seed(), async || {
        round += 1;
        if round % 3 == 0 {
            etcd.kill();
            etcd.restart();
            etcd.ready().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_several_servers_that_come_and_go() {
    let Some(etcd) = Etcd::start().await else { return };
    // For as long as the other one is away, a server is alone and reads without asking etcd.
    let pause = async || tokio::time::sleep(Duration::from_millis(rand::random_range(0..300))).await;
    run(format!("etcd:{}", etcd.endpoint()), 2, seed(), pause).await;
}
