use super::*;

#[test]
fn what_is_there_keeps_what_nobody_wants_to_change() {
    let wanted = json!({"metadata": {"name": "a", "labels": {"l": "1"}}, "ports": [2]});
    for (present, expected) in [
        (
            json!({"metadata": {"name": "a", "uid": "u", "labels": {"m": "3"}}, "ports": [1], "other": 7}),
            json!({"metadata": {"name": "a", "uid": "u", "labels": {"l": "1", "m": "3"}}, "ports": [2], "other": 7}),
        ),
        (json!({"metadata": {"name": "a"}, "ports": [2]}), wanted.clone()),
        (wanted.clone(), wanted.clone()),
    ] {
        let mut object = present;
        bring(&mut object, &wanted);
        assert_eq!(object, expected);
    }
}
