use super::*;

#[test]
fn a_phase_keeps_its_time_until_it_changes() {
    let status = |phase: &str, time: Value| json!({"status": {"phase": phase, TIME: time}});
    let cases = [
        (status("Bound", Value::Null), Some("then")),
        (status("Bound", json!("told")), Some("told")),
        (status("Released", json!("told")), Some("told")),
        (status("Released", json!("then")), None),
        (status("Released", Value::Null), None),
    ];
    for (mut new, expected) in cases {
        stamp(&mut new, &status("Bound", json!("then")));
        let time = new.str_at(&["status", TIME]);
        match expected {
            Some(expected) => assert_eq!(time, expected),
            None => assert!(!["then", "told", ""].contains(&time), "{time}"),
        }
    }
}
