//! The kubelet's own health: does the container runtime answer the loop that looks at the node? Without it no
//! pod can be looked after. Corresponds to upstream's `syncloop` health check.

use api::{Message, message};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long the runtime may be silent: the longest that one of its answers is waited for, as upstream.
const PATIENCE: Duration = Duration::from_secs(120);

/// When the runtime answered last. Clones share it.
#[derive(Debug, Clone)]
pub struct Pulse(Arc<Mutex<Instant>>);

impl Pulse {
    /// As if it had answered now.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    /// The runtime has answered.
    pub fn beat(&self) {
        *self.0.lock() = Instant::now();
    }

    /// The health check `syncloop`.
    pub fn check(&self) -> Result<(), Message> {
        self.check_at(Instant::now())
    }

    fn check_at(&self, now: Instant) -> Result<(), Message> {
        let silent = now.duration_since(*self.0.lock());
        if silent <= PATIENCE {
            return Ok(());
        }
        Err(message!("the container runtime has not answered for {} s", silent.as_secs()))
    }
}

impl Default for Pulse {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
