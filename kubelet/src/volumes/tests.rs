use super::*;
use serde_json::json;

#[test]
fn an_empty_dir_in_memory_is_as_large_as_all_allow() {
    let node = NodeFacts {
        allocatable: BTreeMap::from([("memory".to_owned(), Quantity::whole(1000).wire())]),
        ..NodeFacts::default()
    };
    let size = |source: serde_json::Value, limits: serde_json::Value| {
        let pod = json!({"spec": {"containers": [{"name": "c", "resources": {"limits": limits}}]}});
        let pod: Pod = serde_json::from_value(pod).expect("the test's pod is one");
        let source = serde_json::from_value(source).expect("the test's source is one");
        size_in_memory(&pod, &source, &node)
    };
    assert_eq!(size(json!({}), json!({})), Ok(None), "on disk");
    assert_eq!(size(json!({"medium": "Memory"}), json!({})), Ok(Some(Some(1000))));
    assert_eq!(size(json!({"medium": "Memory"}), json!({"memory": "500"})), Ok(Some(Some(500))));
    let limited = json!({"medium": "Memory", "sizeLimit": "200"});
    assert_eq!(size(limited.clone(), json!({"memory": "500"})), Ok(Some(Some(200))));
    assert_eq!(size(limited, json!({"memory": "100"})), Ok(Some(Some(100))));
    for (medium, why) in [
        ("memory", "unknown storage medium \"memory\""),
        ("HugePages", "storage medium \"HugePages\" is not supported by this node"),
        ("HugePages-2Mi", "storage medium \"HugePages-2Mi\" is not supported by this node"),
    ] {
        assert_eq!(size(json!({"medium": medium}), json!({})), Err(why.to_owned()));
    }
}

#[test]
fn all_pods_have_the_same_rounds() {
    let began = Instant::now();
    let rounds = Rounds::begin(began);
    let at = |millis| {
        let now = began + Duration::from_millis(millis);
        (rounds.number(now), rounds.until_next(now).as_millis())
    };
    assert_eq!(at(0), (0, 60_000));
    assert_eq!(at(59_999), (0, 1));
    assert_eq!(at(60_000), (1, 60_000));
    assert_eq!(at(150_500), (2, 29_500));
}

#[test]
fn what_may_hold_a_secret_is_kept_in_memory() {
    let plugin = |volume: serde_json::Value| {
        let volume: Volume = serde_json::from_value(volume).expect("the test's volume is one");
        as_projected(&volume).map(|(plugin, _)| is_secret(plugin))
    };
    assert_eq!(plugin(json!({"name": "v", "secret": {"secretName": "s"}})), Some(true));
    assert_eq!(plugin(json!({"name": "v", "projected": {"sources": []}})), Some(true));
    assert_eq!(plugin(json!({"name": "v", "configMap": {"name": "c"}})), Some(false));
}
