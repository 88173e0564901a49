//! Waiting for conditions, never for luck.

use std::time::{Duration, Instant};

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Looks until the condition holds and returns what it found; fails with the last
/// reason after `seconds`.
pub fn eventually<T>(what: &str, seconds: u64, mut look: impl FnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(reason) if began.elapsed() > Duration::from_secs(seconds) => {
                panic!("{what}: not within {seconds} s: {reason}")
            }
            Err(_) => std::thread::sleep(LOOK),
        }
    }
}

/// Fails if the condition stops holding within the time.
pub fn holds_for(what: &str, time: Duration, mut look: impl FnMut() -> Result<(), String>) {
    let began = Instant::now();
    while began.elapsed() < time {
        if let Err(reason) = look() {
            panic!("{what}: no longer after {:.1} s: {reason}", began.elapsed().as_secs_f32());
        }
        std::thread::sleep(LOOK);
    }
}
