//! Events do not stay: an hour after they were last seen they go, as with upstream's `--event-ttl`.

use std::{sync::Arc, time::Duration};

use api::object::ObjectExt as _;
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    Api,
    resources::EVENTS,
    store::{Op, StoreError},
    watch_cache::Scope,
};

/// How long an event stays after it was last seen, in seconds.
const TTL: i64 = 3600;
/// How often old ones are looked for.
const EVERY: Duration = Duration::from_secs(60);

/// Removes old events, for ever.
pub async fn run(api: Arc<Api>) -> anyhow::Result<()> {
    loop {
        tokio::time::sleep(EVERY).await;
        if let Err(error) = sweep(&api, machinery::clock::now().as_second()).await {
            tracing::warn!(%error, "cannot remove old events");
        }
    }
}

async fn sweep(api: &Arc<Api>, now: i64) -> Result<(), StoreError> {
    for event in api.objects(EVENTS).scan(&Scope::All, None) {
        let value: Value = serde_json::from_slice(&event.json()).unwrap_or_default();
        if now.saturating_sub(last_seen(&value, now)) > TTL {
            let key = format!("{}{}", EVENTS.prefix, event.key());
            // Somebody who wrote it meanwhile keeps it: a conflict is fine.
            api.store.commit(vec![Op::delete(key, event.revision())]).await?;
        }
    }
    Ok(())
}

/// When an event was last seen, in Unix seconds; now when it does not say. Most of the times are what clients say: none
/// that is still to come keeps an event.
fn last_seen(event: &Value, now: i64) -> i64 {
    let stamps = [
        event.str_at(&["series", "lastObservedTime"]),
        event.str_at(&["lastTimestamp"]),
        event.str_at(&["eventTime"]),
        event.meta_str("creationTimestamp"),
    ];
    stamps
        .into_iter()
        .filter_map(|s| s.parse::<Timestamp>().ok())
        .map(Timestamp::as_second)
        .filter(|seen| *seen <= now)
        .max()
        .unwrap_or(now)
}

#[cfg(test)]
mod tests;
