use super::*;

#[test]
fn pauses_double_up_to_the_longest() {
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(150));
    assert_eq!([backoff.pause(), backoff.pause(), backoff.pause()].map(|d| d.as_millis()), [50, 100, 150]);
    backoff.reset();
    assert_eq!(backoff.pause().as_millis(), 50);
}
