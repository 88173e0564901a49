use super::*;

#[test]
fn differences_become_merge_patches() {
    let cases = [
        (json!({"a": 1}), json!({"a": 1}), None),
        (json!({"a": 1, "b": 2}), json!({"a": 1}), Some(json!({"b": null}))),
        (json!({"a": {"x": 1, "y": 2}}), json!({"a": {"x": 1, "y": 3}}), Some(json!({"a": {"y": 3}}))),
        (json!({"l": [1, 2]}), json!({"l": [2]}), Some(json!({"l": [2]}))),
        (json!({}), json!({"n": {"m": 1}}), Some(json!({"n": {"m": 1}}))),
    ];
    for (old, new, expected) in cases {
        assert_eq!(difference(&old, &new), expected, "{old} -> {new}");
    }
}

#[test]
fn the_sooner_look_wins() {
    let mut plan = Plan::default();
    plan.look_again(Duration::from_secs(5));
    plan.look_again(Duration::from_secs(9));
    assert_eq!(plan.requeue_after, Some(Duration::from_secs(5)));
}
