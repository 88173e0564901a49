//! The time that loops go by: when it is, and waiting until it is later. In a daemon it is the machine's;
//! a test can move it ahead, and then what waited for that time goes on at once.
//!
//! Invariant: spans are measured with what never goes back ([`Clock::instant`]); the time of day may, when somebody sets
//! the machine's.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

/// The machine's time of day, for what no test holds the clock of. Nothing else asks the machine.
#[expect(clippy::disallowed_methods, reason = "this is where everybody else asks")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// A clock. Clones show the same time.
#[derive(Clone, Debug)]
pub struct Clock {
    /// How far it was moved ahead of the machine's.
    ahead: watch::Sender<Duration>,
}

impl Default for Clock {
    fn default() -> Self {
        Clock { ahead: watch::Sender::new(Duration::ZERO) }
    }
}

impl Clock {
    /// The time of day.
    pub fn now(&self) -> Timestamp {
        now().checked_add(*self.ahead.borrow()).unwrap_or(Timestamp::MAX)
    }

    /// The time to measure spans with; it does not jump when somebody sets the machine's clock.
    pub fn instant(&self) -> Instant {
        Instant::now() + *self.ahead.borrow()
    }

    /// Waits for a time as [`Clock::instant`] shows it.
    pub async fn sleep_until(&self, at: Instant) {
        let mut moved = self.ahead.subscribe();
        loop {
            let ahead = *moved.borrow_and_update();
            let Some(at) = at.checked_sub(ahead) else { return };
            tokio::select! {
                () = tokio::time::sleep_until(at) => return,
                Ok(()) = moved.changed() => {}
            }
        }
    }

    /// Moves it ahead.
    pub fn advance(&self, span: Duration) {
        self.ahead.send_modify(|ahead| *ahead += span);
    }
}

#[cfg(test)]
mod tests;
