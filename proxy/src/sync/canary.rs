//! Notices when someone else has flushed the rules: a chain that nothing leads to is gone then.

use std::time::Duration;

use machinery::iptables::{self, IptablesError, Watch};
use tokio::time::Instant;

use super::blocking;
use crate::ruleset::{CANARY, Table};

/// However well all seems, everything is written anew after this time.
const FULL_SYNC_PERIOD: Duration = Duration::from_secs(3600);

/// Is the canary still in every table? When not, someone has flushed the rules.
pub fn lives() -> Result<bool, IptablesError> {
    for table in Table::ALL {
        if !iptables::has(&["-t", table.name(), "-S", CANARY])? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What is known of the canary.
pub(super) struct Canary {
    watch: Watch,
    last_full: Instant,
}

impl Canary {
    pub(super) fn new() -> Self {
        Self { watch: Watch::default(), last_full: Instant::now() }
    }

    /// Whether everything is to be written anew.
    pub(super) async fn is_gone(&mut self) -> bool {
        let flushed = self.watch.changed()
            && match blocking(lives).await {
                Ok(lives) => !lives,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "Cannot look after the canary");
                    false
                }
            };
        if flushed {
            tracing::info!("The canary chain is gone; writing all rules anew");
        }
        let anew = flushed || self.last_full.elapsed() > FULL_SYNC_PERIOD;
        if anew {
            self.last_full = Instant::now();
        }
        anew
    }
}

#[cfg(test)]
mod tests;
