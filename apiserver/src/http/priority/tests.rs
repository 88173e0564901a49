//! Levels, queues and schemas, without a server.

use serde_json::json;

use super::*;
use crate::{auth::User, request};

fn user(name: &str, groups: &[&str]) -> User {
    let groups = groups.iter().chain(&["system:authenticated"]).map(|g| (*g).to_owned()).collect();
    User { name: name.into(), groups, ..User::default() }
}

/// Schema of a request: user, groups, verb, path.
fn schema_of(priority: &Priority, user: &User, verb: &str, path: &str) -> (String, String) {
    let target = request::parse(path);
    let resource = match &target {
        request::Target::Resource(path) => Some(path),
        _ => None,
    };
    let request = RequestDigest { user, verb, path, resource };
    let table = priority.table.read().clone();
    let entry = table.iter().find(|e| e.schema.matches(&request)).unwrap();
    (entry.schema.name.clone(), entry.schema.distinguisher(&request).to_owned())
}

#[test]
fn requests_find_the_schema_that_upstream_finds() {
    let priority = Priority::new(InFlight::default());
    let node = user("system:node:n", &["system:nodes"]);
    let manager = user("system:kube-controller-manager", &[]);
    let account = |ns: &str| {
        user(
            &format!("system:serviceaccount:{ns}:x"),
            &["system:serviceaccounts", &format!("system:serviceaccounts:{ns}")],
        )
    };
    let lease = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/x";
    let pods = "/api/v1/namespaces/a/pods";
    for (caller, verb, path, schema, flow) in [
        (user("root", &["system:masters"]), "list", pods, "exempt", ""),
        (user("jane", &[]), "get", "/healthz", "probes", ""),
        (user("jane", &[]), "list", pods, "global-default", "jane"),
        (user("jane", &[]), "get", "/apis", "global-default", "jane"),
        (node.clone(), "patch", "/api/v1/nodes/n/status", "system-node-high", "system:node:n"),
        (node.clone(), "update", lease, "system-node-high", "system:node:n"),
        (node.clone(), "get", "/api/v1/nodes/n/proxy", "system-nodes", "system:node:n"),
        (node, "patch", "/api/v1/namespaces/a/pods/p/status", "system-nodes", "system:node:n"),
        (manager.clone(), "update", lease, "system-leader-election", "system:kube-controller-manager"),
        (manager.clone(), "delete", lease, "kube-controller-manager", "kube-system"),
        (manager.clone(), "create", pods, "kube-controller-manager", "a"),
        (manager.clone(), "get", "/api/v1/namespaces/a", "kube-controller-manager", "a"),
        (manager.clone(), "update", "/api/v1/namespaces/a/finalize", "kube-controller-manager", "a"),
        (manager, "list", "/api/v1/pods", "kube-controller-manager", ""),
        (account("kube-system"), "list", pods, "kube-system-service-accounts", "a"),
        (account("a"), "list", pods, "service-accounts", "system:serviceaccount:a:x"),
    ] {
        let found = schema_of(&priority, &caller, verb, path);
        assert_eq!(found, (schema.to_owned(), flow.to_owned()), "{} {verb} {path}", caller.name);
    }
}

#[test]
fn shares_become_seats() {
    let (levels, _) = flow_control::bootstrap();
    let seats: Vec<(String, u32, u32)> =
        limits_of(&levels, 600).into_iter().map(|(n, l)| (n, l.seats, l.lendable)).collect();
    let expected = [
        ("catch-all", 13, 0),
        ("global-default", 49, 25),
        ("leader-election", 25, 0),
        ("node-high", 98, 25),
        ("system", 74, 24),
        ("workload-high", 98, 49),
        ("workload-low", 245, 221),
    ];
    let expected: Vec<(String, u32, u32)> =
        expected.iter().map(|(n, s, l)| ((*n).to_owned(), *s, *l)).collect();
    assert_eq!(seats, expected);
}

#[test]
fn schemas_without_a_level_count_for_nothing_and_the_mandatory_ones_stay() {
    let priority = Priority::new(InFlight::default());
    let mut lost = flow_control::bootstrap().1.into_iter().find(|s| s.name() == "global-default").unwrap();
    lost["spec"]["priorityLevelConfiguration"]["name"] = json!("none");
    priority.set(&[], &[lost]);
    let (schema, _) = schema_of(&priority, &user("jane", &[]), "get", "/apis");
    assert_eq!(schema, "catch-all");
    let (schema, _) = schema_of(&priority, &user("root", &["system:masters"]), "get", "/apis");
    assert_eq!(schema, "exempt");
}

fn level(name: &str, limits: Limits) -> (String, Limits) {
    (name.to_owned(), limits)
}

const LONG: Duration = Duration::from_secs(3600);

fn queue(of_flow: usize, of_all: usize) -> Option<Queue> {
    Some(Queue { of_flow, of_all })
}

#[tokio::test]
async fn waiting_flows_take_turns() {
    let seats = Arc::new(Seats::default());
    seats.set(vec![level("one", Limits { seats: 1, queue: queue(100, 1000), ..Limits::default() })]);
    let first = seats.take(0, 1, 1, LONG).await.unwrap();
    let order = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let mut waiting = tokio::task::JoinSet::new();
    let mut expected_waiting = 0;
    // A flood of one flow, then one request of each of two others.
    for flow in [1, 1, 1, 1, 1, 2, 3] {
        let (seats, order) = (seats.clone(), order.clone());
        let queue = seats.clone();
        waiting.spawn(async move {
            let _seat = queue.take(0, flow, 1, LONG).await.unwrap();
            order.lock().push(flow);
        });
        expected_waiting += 1;
        while seats.usage()[0].2 < expected_waiting {
            tokio::task::yield_now().await;
        }
    }
    drop(first);
    while waiting.join_next().await.is_some() {}
    assert_eq!(*order.lock(), [1, 2, 3, 1, 1, 1, 1]);
    assert_eq!(seats.usage(), [("one".to_owned(), 0, 0)]);
}

#[tokio::test]
async fn what_cannot_wait_is_refused() {
    let seats = Arc::new(Seats::default());
    seats.set(vec![
        level("reject", Limits { seats: 1, ..Limits::default() }),
        level("short", Limits { seats: 1, queue: queue(2, 3), ..Limits::default() }),
    ]);
    let refusal = async |level, flow, patience| seats.take(level, flow, 1, patience).await.err();
    let _held = seats.take(0, 1, 1, LONG).await.unwrap();
    assert_eq!(refusal(0, 1, LONG).await, Some(Refusal::NoSeat));
    let _other = seats.take(1, 1, 1, LONG).await.unwrap();
    assert_eq!(refusal(1, 1, Duration::from_millis(20)).await, Some(Refusal::TimedOut));
    assert_eq!(seats.usage()[1], ("short".to_owned(), 1, 0));

    // The flow's line is full, then all lines; a new flow takes a place from the longest.
    let mut waiting = Vec::new();
    for flow in [1, 1, 2] {
        let mut future = Box::pin(seats.take(1, flow, 1, LONG));
        assert!(futures::poll!(&mut future).is_pending());
        waiting.push(future);
    }
    assert_eq!(refusal(1, 1, LONG).await, Some(Refusal::QueueFull));
    assert_eq!(refusal(1, 2, LONG).await, Some(Refusal::QueueFull));
    let mut new = Box::pin(seats.take(1, 3, 1, LONG));
    assert!(futures::poll!(&mut new).is_pending());
    assert_eq!(waiting.remove(1).await.err(), Some(Refusal::QueueFull));
    // Who hangs up leaves the line, before its turn or with the seat in its hand.
    drop(waiting.remove(1));
    assert_eq!(seats.usage()[1].2, 2);
    drop(_other);
    drop((waiting, new));
    assert_eq!(seats.usage()[1], ("short".to_owned(), 0, 0));
}

#[tokio::test]
async fn free_seats_are_lent_and_come_back() {
    let seats = Arc::new(Seats::default());
    let lender = Limits { seats: 4, lendable: 2, ..Limits::default() };
    seats.set(vec![
        level("lender", lender),
        level("eager", Limits { seats: 1, ..Limits::default() }),
        level("modest", Limits { seats: 1, borrowing: Some(1), ..Limits::default() }),
    ]);
    let take = async |level| seats.take(level, 1, 1, LONG).await;
    let mut eager = vec![take(1).await.unwrap(), take(1).await.unwrap(), take(1).await.unwrap()];
    assert!(take(1).await.is_err(), "two of the lender's seats are all that is lent");
    let modest = take(2).await.unwrap();
    assert!(take(2).await.is_err(), "everything lendable is lent");
    // The lender has its own seats whatever it lent.
    let mut own = Vec::new();
    for _ in 0..4 {
        own.push(take(0).await.unwrap());
    }
    assert!(take(0).await.is_err());
    eager.truncate(1);
    assert!(take(1).await.is_err(), "the lender uses them itself");
    own.clear();
    let second = take(2).await.unwrap();
    assert!(take(2).await.is_err(), "it borrows one at most");
    drop((modest, second, eager));
    assert!(seats.usage().iter().all(|(_, taken, _)| *taken == 0));
}

#[tokio::test]
async fn a_level_without_a_share_lives_on_what_it_borrows() {
    let seats = Arc::new(Seats::default());
    let lender = Limits { seats: 1, lendable: 1, ..Limits::default() };
    let jail = Limits { borrowing: Some(0), queue: queue(2, 2), ..Limits::default() };
    let places = seats.set(vec![
        level("lender", lender),
        level("poor", Limits::default()),
        level("jail", jail),
        level("new", Limits { seats: 1, ..Limits::default() }),
    ]);
    assert_eq!(places, [0, 1, 2, 3], "each has a place of its own");
    let borrowed = seats.take(1, 1, 1, LONG).await.unwrap();
    assert_eq!(seats.take(1, 1, 1, LONG).await.err(), Some(Refusal::NoSeat), "one is all that is lent");
    drop(borrowed);
    let mut held = Box::pin(seats.take(2, 1, 1, LONG));
    assert!(futures::poll!(&mut held).is_pending(), "it may not borrow");
    // Once the level is removed, who waits is let out; then the place is another's.
    assert_eq!(seats.set(vec![level("new", Limits { seats: 1, ..Limits::default() })]), [3]);
    let out = held.await.unwrap();
    let names = || seats.usage().into_iter().map(|(name, _, _)| name).collect::<Vec<_>>();
    assert_eq!(names(), ["jail", "new"]);
    drop(out);
    assert_eq!(names(), ["new"]);
    let two = ["new", "other", "third"].map(|name| level(name, Limits::default()));
    assert_eq!(seats.set(two.into()), [3, 0, 1]);
}

#[tokio::test]
async fn wide_requests_take_several_seats() {
    let seats = Arc::new(Seats::default());
    seats.set(vec![level("one", Limits { seats: 3, ..Limits::default() })]);
    let wide = seats.take(0, 1, 10, LONG).await.unwrap();
    assert!(seats.take(0, 1, 1, LONG).await.is_err(), "it is served alone");
    drop(wide);
    let _two = seats.take(0, 1, 2, LONG).await.unwrap();
    assert!(seats.take(0, 1, 2, LONG).await.is_err());
    assert!(seats.take(0, 1, 1, LONG).await.is_ok());
}

#[tokio::test]
async fn whoever_stands_behind_a_wide_request_that_goes_away_is_served() {
    let seats = Arc::new(Seats::default());
    seats.set(vec![level("one", Limits { seats: 2, queue: queue(100, 1000), ..Limits::default() })]);
    let _taken = seats.take(0, 1, 1, LONG).await.unwrap();
    let mut wide = Box::pin(seats.take(0, 1, 2, LONG));
    let mut narrow = Box::pin(seats.take(0, 1, 1, LONG));
    assert!(futures::poll!(&mut wide).is_pending());
    assert!(futures::poll!(&mut narrow).is_pending());
    drop(wide);
    let served = tokio::time::timeout(Duration::from_secs(30), narrow).await;
    assert!(served.expect("there is a seat for it").is_ok());
}

#[tokio::test]
async fn without_fairness_reading_and_writing_are_counted_apart() {
    let priority = Priority::new(InFlight { reading: 2, mutating: 1, fair: false });
    let (jane, root) = (user("jane", &[]), user("root", &["system:masters"]));
    let enter = async |user, mutating| {
        let request = RequestDigest { user, verb: "get", path: "/apis", resource: None };
        priority.enter(&request, mutating, 1).await
    };
    let held = [enter(&jane, false).await.unwrap(), enter(&jane, false).await.unwrap()];
    assert_eq!(enter(&jane, false).await.err().unwrap().why, Refusal::NoSeat);
    let _writing = enter(&jane, true).await.unwrap();
    assert!(enter(&jane, true).await.is_err());
    assert!(enter(&root, true).await.is_ok());
    drop(held);
    assert!(enter(&jane, false).await.is_ok());
}
