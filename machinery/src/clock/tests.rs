use super::*;

#[tokio::test]
async fn sleepers_wake_when_the_clock_moves() {
    const HOUR: Duration = Duration::from_secs(3600);
    let clock = Clock::default();
    let (instant, day) = (clock.instant(), clock.now());
    let sleep = clock.sleep_until(instant + HOUR);
    tokio::pin!(sleep);
    assert!(futures::poll!(&mut sleep).is_pending());
    clock.clone().advance(HOUR / 2);
    assert!(futures::poll!(&mut sleep).is_pending());
    clock.advance(HOUR / 2);
    sleep.await;
    assert!(clock.now() >= day + HOUR);
    clock.sleep_until(instant).await;
}
