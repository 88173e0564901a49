#![allow(clippy::unwrap_used)]
use std::time::Duration;

use machinery::{clock::Clock, metrics};

use super::*;

#[tokio::test]
async fn a_queue_is_told_of_under_upstreams_names() {
    let mut registry = metrics::registry();
    let all = Metrics::register(&mut registry);
    let clock = Clock::default();
    let queue = Queue::new(&clock, Duration::from_secs(1), Duration::from_secs(9));
    let watch = all.watch("toys", &queue);
    queue.add("a");
    queue.add("a");
    queue.add("b");
    clock.advance(Duration::from_secs(5));
    let item = queue.next().await.unwrap();
    assert!(watch.time(async { Err::<(), ()>(()) }).await.is_err());
    item.retry();
    let text = metrics::text(&registry);
    for line in [
        "workqueue_adds_total{name=\"toys\"} 2",
        "workqueue_depth{name=\"toys\"} 1",
        "workqueue_retries_total{name=\"toys\"} 1",
        "workqueue_work_duration_seconds_count{name=\"toys\"} 1",
        "workqueue_queue_duration_seconds_bucket{le=\"1.0\",name=\"toys\"} 0",
        "workqueue_queue_duration_seconds_bucket{le=\"10.0\",name=\"toys\"} 1",
        "workqueue_queue_duration_seconds_sum{name=\"toys\"} 5",
    ] {
        assert!(text.lines().any(|found| found.starts_with(line)), "{line}:\n{text}");
    }
}
