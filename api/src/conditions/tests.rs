use super::*;

fn with(mut object: Value, new: Value) -> Value {
    set_in(&mut object, new);
    object
}

#[test]
fn the_time_changes_with_the_status_and_the_place_never() {
    let first = with(
        json!({"status": {"conditions": [{"type": "Other", "status": "True"}]}}),
        told("A", true, "r", "m", "1"),
    );
    let first = with(first, told("B", false, "r", "m", "1"));
    let same = with(first.clone(), told("A", true, "s", "n", "2"));
    assert_eq!(find(&same, "A"), Some(&told("A", true, "s", "n", "1")));
    assert_eq!(of(&same).iter().map(Condition::kind).collect::<Vec<_>>(), ["Other", "A", "B"]);
    let turned = with(same, told("A", false, "s", "n", "3"));
    assert_eq!(find(&turned, "A"), Some(&told("A", false, "s", "n", "3")));
    assert!(holds(&first, "A") && !holds(&turned, "A") && !holds(&turned, "C"));
    // Nothing and no time are given way to.
    let bare = with(json!({"status": {"conditions": null}}), json!({"type": "A", "status": "True"}));
    let timed = with(bare, told("A", true, "r", "m", "4"));
    assert_eq!(of(&timed), [told("A", true, "r", "m", "4")]);
}

#[test]
fn wire_types_keep_their_time_alike() {
    let at = |second| Some(Time(jiff::Timestamp::from_second(second).unwrap_or_default()));
    let ready = |status: &str, last_transition_time| PodCondition {
        type_: "Ready".into(),
        status: status.into(),
        last_transition_time,
        ..PodCondition::default()
    };
    let mut list = vec![ready("True", at(1))];
    set(&mut list, ready("True", at(2)));
    assert_eq!(list, [ready("True", at(1))]);
    set(&mut list, ready("False", at(3)));
    assert_eq!(list, [ready("False", at(3))]);
}
