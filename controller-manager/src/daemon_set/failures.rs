//! How long a failed pod stays before another one takes its place on the node: the first goes at once, the second stays
//! for a second, each further one twice as long. Only in memory: a process that starts anew begins anew.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;

use super::nodes;
use crate::frame::{Timestamp, plus_seconds};
use crate::kit::{owners, pods};

/// The longest wait, in seconds.
const LONGEST: i64 = 15 * 60;
/// A node that was well for so long has its failures forgotten, in seconds.
const FORGET_AFTER: i64 = 2 * LONGEST;

/// What failed, by the DaemonSet's uid and the node.
#[derive(Default)]
pub(super) struct Failures {
    known: Mutex<HashMap<(String, String), Failure>>,
}

struct Failure {
    /// The pod that failed last.
    pod: String,
    wait: i64,
    until: Timestamp,
}

impl Failures {
    /// Until when the failed pods of a set have to stay, by uid.
    pub(super) fn holds(&self, set: &str, pods: &[Arc<Pod>], now: Timestamp) -> HashMap<String, Timestamp> {
        let mut known = self.known.lock();
        known.retain(|_, failure| plus_seconds(failure.until, FORGET_AFTER) > now);
        let failed = pods.iter().filter(|pod| pods::phase(pod) == "Failed" && !pods::is_terminating(pod));
        let holds = failed.filter_map(|pod| {
            let uid = owners::uid(&pod.metadata);
            let place = (set.to_owned(), nodes::target(pod)?.to_owned());
            let failure =
                known.entry(place).or_insert_with(|| Failure { pod: String::new(), wait: 0, until: now });
            if failure.pod != uid {
                let wait = if failure.wait == 0 { 1 } else { (failure.wait * 2).min(LONGEST) };
                // The first one goes at once.
                let until = if failure.wait == 0 { now } else { plus_seconds(now, failure.wait) };
                *failure = Failure { pod: uid.to_owned(), wait, until };
            }
            Some((uid.to_owned(), failure.until))
        });
        holds.collect()
    }
}
