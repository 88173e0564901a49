use super::*;

fn occurrence(pod: &str, reason: &str, message: &str, second: i64) -> Occurrence {
    Occurrence {
        about: ObjectReference {
            kind: Some("Pod".into()),
            namespace: Some("default".into()),
            name: Some(pod.into()),
            uid: Some(format!("uid-{pod}")),
            ..ObjectReference::default()
        },
        event_type: EventType::Warning,
        reason: reason.into(),
        message: message.into(),
        at: Timestamp::from_second(second).unwrap(),
    }
}

#[test]
fn the_same_again_counts_up_one_event() {
    let mut correlator = Correlator::default();
    let first = correlator.observe(occurrence("web", "BackOff", "slow down", 1000)).unwrap();
    assert_eq!((first.name.as_str(), first.count), ("web.e8d4a51000", 1));
    let second = correlator.observe(occurrence("web", "BackOff", "slow down", 1005)).unwrap();
    assert_eq!((second.name, second.count), (first.name, 2));
    assert_eq!((second.first.as_second(), second.last.as_second()), (1000, 1005));
}

#[test]
fn what_differs_in_anything_is_another_event() {
    let mut correlator = Correlator::default();
    let mut names = HashSet::new();
    let other_container = {
        let mut other = occurrence("web", "BackOff", "slow down", 1004);
        other.about.field_path = Some("spec.containers{b}".into());
        other
    };
    for occurrence in [
        occurrence("web", "BackOff", "slow down", 1000),
        occurrence("web", "BackOff", "stop", 1001),
        occurrence("web", "Failed", "slow down", 1002),
        occurrence("db", "BackOff", "slow down", 1003),
        other_container,
    ] {
        let write = correlator.observe(occurrence).unwrap();
        assert_eq!(write.count, 1);
        names.insert(write.name);
    }
    assert_eq!(names.len(), 5);
}

#[test]
fn many_similar_ones_are_combined_until_it_is_quiet() {
    let mut correlator = Correlator::default();
    let mut last = None;
    for number in 0..12 {
        last = correlator.observe(occurrence("web", "Failed", &format!("try {number}"), 1000 + number));
    }
    let last = last.unwrap();
    assert_eq!((last.message.as_str(), last.count), ("(combined from similar events): try 11", 3));
    let later = correlator.observe(occurrence("web", "Failed", "try 99", 5000)).unwrap();
    assert_eq!((later.message.as_str(), later.count), ("try 99", 1));
}

#[test]
fn one_object_cannot_flood() {
    let mut correlator = Correlator::default();
    let written =
        (0..100).filter(|_| correlator.observe(occurrence("web", "BackOff", "no", 1000)).is_some()).count();
    assert_eq!(written, 25);
    assert!(correlator.observe(occurrence("db", "BackOff", "no", 1000)).is_some());
    assert!(correlator.observe(occurrence("web", "BackOff", "no", 1299)).is_none());
    assert!(correlator.observe(occurrence("web", "BackOff", "no", 1301)).is_some());
}

#[test]
fn memory_is_bounded() {
    let mut correlator = Correlator::default();
    for number in 0..10_000 {
        correlator.observe(occurrence(&format!("pod-{number}"), "Started", "up", number));
    }
    let sizes = [correlator.written.len(), correlator.similar.len(), correlator.allowance.len()];
    assert!(sizes.iter().all(|&size| size <= REMEMBERED), "{sizes:?}");
}
