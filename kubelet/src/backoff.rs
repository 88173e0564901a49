//! How long a crashing container or an image that cannot be pulled has to wait: 10 s, doubling to 5 min,
//! forgotten after 10 min of peace. Corresponds to upstream's `client-go/util/flowcontrol.Backoff`.

use jiff::{SignedDuration, Timestamp};

const FIRST: SignedDuration = SignedDuration::from_secs(10);
const LONGEST: SignedDuration = SignedDuration::from_secs(300);
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_secs(600);

/// The wait in force for one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    delay: SignedDuration,
    /// When the wait was last made longer.
    updated: Timestamp,
}

impl Backoff {
    /// The wait after another try at `now`, which followed a failure at `failed`.
    pub fn after(previous: Option<Self>, failed: Timestamp, now: Timestamp) -> Self {
        let delay = match previous {
            Some(previous) if !previous.forgotten(failed) => (previous.delay * 2).min(LONGEST),
            _ => FIRST,
        };
        Self { delay, updated: now }
    }

    fn forgotten(&self, failed: Timestamp) -> bool {
        failed.duration_since(self.updated) > FORGOTTEN_AFTER
    }

    /// When the next try may follow a failure at `failed`.
    pub fn due(&self, failed: Timestamp) -> Timestamp {
        if self.forgotten(failed) { failed } else { failed.checked_add(self.delay).unwrap_or(Timestamp::MAX) }
    }

    /// The wait.
    pub fn delay(&self) -> SignedDuration {
        self.delay
    }
}

#[cfg(test)]
mod tests;
