//! The kubelet's own health: does the container runtime answer the loop that looks at the node? Without it no
//! pod can be looked after. Corresponds to upstream's `syncloop` health check.

use api::{Message, message};
use std::sync::Arc;
use std::time::Duration;

use machinery::clock::Clock;
use parking_lot::Mutex;
use tokio::time::Instant;

/// How long the runtime may be silent: the longest that one of its answers is waited for, as upstream.
const PATIENCE: Duration = Duration::from_secs(120);

/// When the runtime answered last. Clones share it.
#[derive(Debug, Clone)]
pub struct Pulse {
    clock: Clock,
    last: Arc<Mutex<Instant>>,
}

impl Pulse {
    /// As if it had answered now.
    pub fn new(clock: Clock) -> Self {
        Self { last: Arc::new(Mutex::new(clock.instant())), clock }
    }

    /// The runtime has answered.
    pub fn beat(&self) {
        *self.last.lock() = self.clock.instant();
    }

    /// For how long it has not answered.
    pub fn silence(&self) -> Duration {
        self.clock.instant().duration_since(*self.last.lock())
    }

    /// The health check `syncloop`.
    pub fn check(&self) -> Result<(), Message> {
        let silent = self.silence();
        if silent <= PATIENCE {
            return Ok(());
        }
        Err(message!("the container runtime has not answered for {} s", silent.as_secs()))
    }
}

#[cfg(test)]
mod tests;
