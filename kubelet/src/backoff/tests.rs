use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a small number of seconds is a time")
}

#[test]
fn doubles_to_five_minutes_and_forgets_after_ten() {
    let mut backoff = Backoff::after(None, at(0), at(0));
    let mut delays = vec![backoff.delay().as_secs()];
    for step in 1..7 {
        backoff = Backoff::after(Some(backoff), at(step), at(step));
        delays.push(backoff.delay().as_secs());
    }
    assert_eq!(delays, [10, 20, 40, 80, 160, 300, 300]);
    assert_eq!(backoff.due(at(606)), at(906));
    assert_eq!(backoff.due(at(607)), at(607));
    assert_eq!(Backoff::after(Some(backoff), at(607), at(607)).delay().as_secs(), 10);
}
