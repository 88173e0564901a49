use std::time::{Duration, Instant};

use serde_json::json;

use super::*;

fn points(mounts: &[(&str, &str)]) -> Result<Vec<String>, String> {
    let mounts: Vec<_> = mounts.iter().map(|(name, path)| json!({"name": name, "mountPath": path})).collect();
    let pod = json!({"spec": {"containers": [{"name": "c", "volumeMounts": mounts}]}});
    let pod = serde_json::from_value(pod).expect("the test's pod is one");
    let found = mount_points(&pod).remove("v").unwrap_or(Ok(Vec::new()))?;
    Ok(found.iter().map(|path| path.display().to_string()).collect())
}

#[test]
fn places_inside_of_a_volume() {
    let some = |names: &[&str]| Ok(names.iter().map(|name| (*name).to_owned()).collect());
    assert_eq!(points(&[("v", "/etc/app"), ("w", "/etc/application"), ("w", "/etc")]), some(&[]));
    assert_eq!(
        points(&[("v", "/dir/"), ("w", "/dir/nested/deep"), ("x", "//dir/nested"), ("y", "/dir/nested2")]),
        some(&["nested", "nested2"])
    );
    assert_eq!(points(&[("w", "/dir"), ("v", "/dir/nested")]), some(&[]));
    assert!(points(&[("v", "/dir"), ("w", "/dir/../../etc")]).is_err());
}

#[test]
fn of_mounts_at_one_place_the_last_is_seen() {
    assert_eq!(points(&[("v", "/dir"), ("w", "//dir"), ("x", "/dir/nested")]), Ok(vec![]));
    let seen = points(&[("w", "/dir"), ("v", "//dir"), ("x", "/dir/nested")]);
    assert_eq!(seen, Ok(vec!["nested".to_owned()]));
}

/// Nine thousand paths have forty million pairs, and a chain of folders as many.
#[test]
fn many_mounts_are_no_more_work_each_than_few() {
    let names: Vec<String> = (0..9_000).map(|number| format!("/a/{number}")).collect();
    let mut mounts: Vec<(&str, &str)> = names.iter().map(|name| ("v", name.as_str())).collect();
    mounts.push(("v", "/a"));
    let began = Instant::now();
    assert_eq!(points(&mounts).map(|found| found.len()), Ok(9_000));
    let spellings: Vec<String> = (0..3_000).map(|number| "/".repeat(number % 60 + 1) + "a").collect();
    mounts.extend(spellings.iter().map(|name| ("v", name.as_str())));
    assert_eq!(points(&mounts).map(|found| found.len()), Ok(9_000));
    let chain: Vec<String> = (1..300).map(|depth| "/a".repeat(depth)).collect();
    let mounts: Vec<(&str, &str)> = chain.iter().map(|name| ("v", name.as_str())).collect();
    assert_eq!(points(&mounts).map(|found| found.len()), Ok(298));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}
