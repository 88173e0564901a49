use serde_json::json;

use super::*;
use crate::{registry::Registry, resources::PODS};

#[test]
fn a_shorter_grace_period_counts_from_the_beginning_of_the_deletion() {
    let table = Registry::builtin().table();
    let kind = PODS.row(&table).expect("is a built-in kind");
    let hastened = |given: i64, asked: i64| {
        let mut pod = json!({
            "metadata": {"deletionTimestamp": "2026-01-01T00:01:00Z", "deletionGracePeriodSeconds": given},
            "spec": {"nodeName": "n"},
        });
        let options = DeleteOptions { grace_period_seconds: Some(asked), ..DeleteOptions::default() };
        begin(kind, &options, &mut pod);
        let metadata = &pod["metadata"];
        (metadata["deletionTimestamp"].clone(), metadata["deletionGracePeriodSeconds"].clone())
    };
    for (given, asked, end, left) in [
        (60, 5, "2026-01-01T00:00:05Z", 5),
        (30, 0, "2026-01-01T00:00:30Z", 0),
        (30, 30, "2026-01-01T00:01:00Z", 30),
        (30, 60, "2026-01-01T00:01:00Z", 30),
    ] {
        assert_eq!(hastened(given, asked), (json!(end), json!(left)), "{given} {asked}");
    }
}
