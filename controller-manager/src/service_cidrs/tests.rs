#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;

fn cidr(name: &str, range: &str, deleted: bool) -> Arc<ServiceCIDR> {
    let mut meta = json!({"name": name, "uid": name, "finalizers": [FINALIZER]});
    if deleted {
        meta["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    }
    Arc::new(serde_json::from_value(json!({"metadata": meta, "spec": {"cidrs": [range]}})).unwrap())
}

fn planned(cidr: &Arc<ServiceCIDR>, others: &[Arc<ServiceCIDR>], used: &[&str], after: i64) -> Vec<Value> {
    let address =
        |ip: &&str| Arc::new(serde_json::from_value::<IPAddress>(json!({"metadata": {"name": ip}})).unwrap());
    let snapshot = Snapshot {
        cidr: Arc::clone(cidr),
        all: others.iter().chain([cidr]).cloned().collect(),
        addresses: used.iter().map(address).collect(),
    };
    let now = plus_seconds("2026-01-01T00:00:00Z".parse().unwrap(), after);
    let bodies = plan(&snapshot, now).actions.into_iter().map(|action| match action {
        Action::Patch { body, subresource: Some(_), .. } => body["status"]["conditions"][0].clone(),
        Action::Patch { body, .. } => body["metadata"]["finalizers"].clone(),
        other => panic!("{other:?}"),
    });
    bodies.collect()
}

#[test]
fn a_range_is_ready_until_it_is_to_go_and_goes_with_its_last_address() {
    let fresh: ServiceCIDR =
        serde_json::from_value(json!({"metadata": {"name": "a"}, "spec": {"cidrs": ["10.1.0.0/24"]}}))
            .unwrap();
    let told = planned(&Arc::new(fresh), &[], &[], 0);
    assert_eq!((&told[0], &told[1]["status"]), (&json!([FINALIZER]), &json!("True")));
    let going = cidr("a", "10.1.0.0/24", true);
    assert_eq!(planned(&going, &[], &["10.1.0.7"], 99)[0]["reason"], "Terminating");
    // Another range that stays has the address, too.
    let wide = cidr("b", "10.0.0.0/8", false);
    assert_eq!(planned(&going, &[wide], &["10.1.0.7"], 99), [Value::Null]);
    let wide = cidr("b", "10.0.0.0/8", true);
    assert_eq!(planned(&going, &[wide], &["10.1.0.7"], 99)[0]["status"], "False");
    assert_eq!(planned(&going, &[], &["10.2.0.7"], 9), [] as [Value; 0]);
    assert_eq!(planned(&going, &[], &["10.2.0.7"], 10), [Value::Null]);
}
