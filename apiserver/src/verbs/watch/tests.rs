use super::*;

#[test]
fn a_watch_gets_a_bookmark_before_it_ends() {
    let (now, second) = (Instant::now(), Duration::from_secs(1));
    for (left, next) in [(600, 60), (62, 60), (61, 59), (5, 3), (3, 1), (2, 2), (1, 1)] {
        assert_eq!(next_bookmark(now, now + left * second), now + next * second, "{left} s before");
    }
}
