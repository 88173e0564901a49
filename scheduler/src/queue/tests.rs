use serde_json::json;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn pod(priority: i32, created: &str) -> Arc<Pod> {
    let pod = json!({"metadata": {"creationTimestamp": created},
        "spec": {"priority": priority, "containers": []}});
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn any_pod() -> Arc<Pod> {
    pod(0, "2026-01-01T00:00:00Z")
}

fn counts(active: usize, backoff: usize, unschedulable: usize) -> Counts {
    Counts { active, backoff, unschedulable }
}

#[test]
fn by_priority_then_by_age() {
    let now = Instant::now();
    let mut queue = Queue::default();
    queue.put("young", &pod(0, "2026-01-01T00:00:05Z"), now);
    queue.put("old", &pod(0, "2026-01-01T00:00:01Z"), now);
    queue.put("important", &pod(1000, "2026-01-01T00:00:09Z"), now);
    queue.put("old's twin", &pod(0, "2026-01-01T00:00:01Z"), now);
    let order: Vec<String> = std::iter::from_fn(|| queue.pop(now)).map(|turn| turn.uid).collect();
    assert_eq!(order, ["important", "old", "old's twin", "young"]);
}

#[test]
fn what_helps_whom() {
    let none = NodeChange::default();
    let (taints, labels) = (NodeChange { taints: true, ..none }, NodeChange { labels: true, ..none });
    let allocatable = NodeChange { allocatable: true, ..none };
    let cases = [
        (Filter::Taints, Relief::Node(taints), true),
        (Filter::Unschedulable, Relief::Node(taints), true),
        (Filter::Taints, Relief::Node(labels), false),
        (Filter::NodeAffinity, Relief::Node(labels), true),
        (Filter::NodeAffinity, Relief::PodGone, false),
        (Filter::PodAffinity, Relief::PodPlaced, true),
        (Filter::PodAffinity, Relief::Node(labels), true),
        (Filter::Spread, Relief::PodGone, true),
        (Filter::Resources, Relief::PodPlaced, false),
        (Filter::Volumes, Relief::Storage, true),
        (Filter::ClaimInUse, Relief::PodGone, true),
        (Filter::Ports, Relief::Storage, false),
        (Filter::Resources, Relief::Node(allocatable), true),
        (Filter::Resources, Relief::Node(taints), false),
        (Filter::Resources, Relief::PodGone, true),
        (Filter::Ports, Relief::PodGone, true),
        (Filter::Ports, Relief::Node(allocatable), true),
        (Filter::ClaimInUse, Relief::Node(allocatable), false),
    ];
    for (filter, relief, helps) in cases {
        let now = Instant::now();
        let mut queue = Queue::default();
        queue.put("a", &any_pod(), now);
        queue.pop(now).unwrap();
        queue.unfit("a", vec![filter]);
        assert_eq!(queue.counts(), counts(0, 0, 1));
        queue.relieve(relief, now + 60 * SECOND);
        assert_eq!(queue.pop(now + 60 * SECOND).is_some(), helps, "{filter:?} {relief:?}");
    }
}

#[test]
fn without_nodes_any_node_helps() {
    let now = Instant::now();
    let mut queue = Queue::default();
    queue.put("a", &any_pod(), now);
    queue.pop(now).unwrap();
    queue.unfit("a", Vec::new());
    queue.relieve(Relief::PodGone, now);
    assert!(queue.pop(now).is_none());
    queue.relieve(Relief::Node(NodeChange { taints: true, ..NodeChange::default() }), now);
    assert_eq!(queue.pop(now).map(|turn| turn.attempts), Some(2));
}

#[test]
fn tries_after_pods_left_are_spaced_out() {
    let mut now = Instant::now();
    let mut queue = Queue::default();
    queue.put("a", &any_pod(), now);
    let mut pauses = Vec::new();
    for _ in 0..6 {
        queue.pop(now).unwrap();
        queue.unfit("a", vec![Filter::Resources]);
        queue.relieve(Relief::PodGone, now);
        let until = queue.ripen(now).unwrap();
        assert_eq!(queue.counts(), counts(0, 1, 0));
        pauses.push((until - now).as_secs());
        now = until;
        assert_eq!(queue.ripen(now), None);
    }
    assert_eq!(pauses, [1, 2, 4, 8, 10, 10]);
}

#[test]
fn a_failed_binding_is_tried_again_and_a_gone_pod_is_not() {
    let now = Instant::now();
    let mut queue = Queue::default();
    queue.put("a", &any_pod(), now);
    queue.put("b", &any_pod(), now);
    for uid in ["a", "b"] {
        assert_eq!(queue.pop(now).unwrap().uid, uid);
        queue.failed(uid, now);
    }
    queue.remove("a");
    queue.failed("a", now);
    assert_eq!(queue.ripen(now + SECOND), None);
    assert_eq!(queue.pop(now).map(|turn| turn.uid), Some("b".to_owned()));
    assert!(queue.pop(now).is_none() && !queue.contains("a"));
}

#[test]
fn only_a_change_of_needs_gives_another_try() {
    let now = Instant::now();
    let mut queue = Queue::default();
    queue.put("a", &any_pod(), now);
    queue.pop(now).unwrap();
    queue.unfit("a", vec![Filter::NodeAffinity]);
    let mut changed = (*any_pod()).clone();
    changed.metadata.annotations = Some([("note".to_owned(), "x".to_owned())].into());
    queue.put("a", &Arc::new(changed.clone()), now);
    assert!(queue.pop(now).is_none());
    changed.spec.get_or_insert_default().node_selector = Some([("disk".to_owned(), "ssd".to_owned())].into());
    queue.put("a", &Arc::new(changed), now);
    let turn = queue.pop(now).unwrap();
    assert_eq!(turn.needs.node_selector.len(), 1);
}
