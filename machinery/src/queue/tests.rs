use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const MS: Duration = Duration::from_millis(1);

fn state() -> (State<&'static str>, Instant) {
    (State::new(5 * MS, 1000 * MS), Instant::now())
}

#[test]
fn a_key_waits_once_and_in_order() {
    let (mut state, now) = state();
    for key in ["b", "a", "b"] {
        state.add(key, now);
    }
    assert_eq!([state.take(now), state.take(now), state.take(now)], [Ok("b"), Ok("a"), Err(None)]);
}

#[test]
fn a_key_is_in_one_pair_of_hands_and_comes_again_if_added_meanwhile() {
    let (mut state, now) = state();
    state.add("a", now);
    assert_eq!(state.take(now), Ok("a"));
    state.add("a", now);
    assert_eq!(state.take(now), Err(None));
    state.finish("a", End::Done, now);
    assert_eq!(state.take(now), Ok("a"));
    state.finish("a", End::Done, now);
    assert_eq!(state.take(now), Err(None));
}

#[test]
fn failures_back_off_until_done() {
    let (mut state, mut now) = state();
    state.add("a", now);
    let mut waits = Vec::new();
    for _ in 0..10 {
        assert_eq!(state.take(now), Ok("a"));
        state.finish("a", End::Failed, now);
        let due = state.take(now).unwrap_err().unwrap();
        waits.push((due - now).as_millis());
        assert_eq!(state.take(due - MS), Err(Some(due)));
        now = due;
    }
    assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
    assert_eq!(state.take(now), Ok("a"));
    state.finish("a", End::Done, now);
    state.add("a", now);
    assert_eq!(state.take(now), Ok("a"));
    state.finish("a", End::Failed, now);
    assert_eq!(state.take(now), Err(Some(now + 5 * MS)), "done forgets failures");
}

#[test]
fn a_delayed_key_comes_at_the_sooner_of_its_times_and_once() {
    let (mut state, now) = state();
    for delay in [9, 3, 6] {
        state.add_at("a", now + delay * MS);
    }
    state.add_at("b", now + MS);
    assert_eq!(state.take(now), Err(Some(now + MS)));
    assert_eq!(state.take(now + 2 * MS), Ok("b"));
    state.finish("b", End::Again(4 * MS), now + 2 * MS);
    assert_eq!(state.take(now + 3 * MS), Ok("a"));
    state.finish("a", End::Done, now + 3 * MS);
    assert_eq!(state.take(now + 3 * MS), Err(Some(now + 6 * MS)));
    assert_eq!(state.take(now + 20 * MS), Ok("b"));
    assert_eq!(state.take(now + 20 * MS), Err(None));
}

#[tokio::test]
async fn a_waiting_worker_wakes_for_a_sooner_key() {
    let queue = Queue::new(&Clock::default(), MS, MS);
    queue.add_after("late", Duration::from_secs(600));
    let waiting = {
        let queue = queue.clone();
        tokio::task::spawn(async move { queue.next().await.map(|item| *item.key()) })
    };
    tokio::task::yield_now().await;
    queue.add_after("soon", 20 * MS);
    let woken = tokio::time::timeout(Duration::from_secs(10), waiting).await;
    assert_eq!(woken.unwrap().unwrap(), Some("soon"));
}

#[tokio::test]
async fn everyone_who_waits_is_told_of_the_end_and_a_dropped_item_comes_again() {
    let queue = Queue::new(&Clock::default(), MS, MS);
    queue.add("a");
    drop(queue.next().await);
    queue.next().await.unwrap().done();
    let crowd: Vec<_> = (0..3)
        .map(|_| {
            let queue = queue.clone();
            tokio::task::spawn(async move { queue.next().await.is_none() })
        })
        .collect();
    tokio::task::yield_now().await;
    queue.close();
    for one in crowd {
        assert!(tokio::time::timeout(Duration::from_secs(10), one).await.unwrap().unwrap());
    }
}

#[tokio::test]
async fn workers_share_the_keys_and_never_one_key() {
    let queue: Queue<usize> = Queue::new(&Clock::default(), MS, 2 * MS);
    let stop = CancellationToken::new();
    let busy: Arc<Vec<AtomicUsize>> = Arc::new((0..8).map(|_| AtomicUsize::new(0)).collect());
    let rounds = Arc::new(AtomicUsize::new(0));
    (0..8).for_each(|key| queue.add(key));
    let work = run_workers(queue.clone(), 4, stop.clone(), move |key: usize| {
        let (queue, stop, busy, rounds) =
            (queue.clone(), stop.clone(), Arc::clone(&busy), Arc::clone(&rounds));
        async move {
            assert_eq!(busy[key].fetch_add(1, Ordering::SeqCst), 0);
            queue.add(key);
            tokio::task::yield_now().await;
            busy[key].fetch_sub(1, Ordering::SeqCst);
            match rounds.fetch_add(1, Ordering::SeqCst) {
                round if round > 1000 => stop.cancel(),
                round if round % 7 == 0 => return Err("now and then"),
                _ => {}
            }
            Ok(None)
        }
    });
    tokio::time::timeout(Duration::from_secs(30), work).await.unwrap().unwrap();
}
