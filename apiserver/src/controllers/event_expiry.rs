//! Events do not stay: an hour after they were last seen they go, as with upstream's `--event-ttl`.

use std::{sync::Arc, time::Duration};

use api::object::ObjectExt as _;
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    Api,
    store::{Op, StoreError},
    watch_cache::{CachedObject, Scope},
};

/// How long an event stays after it was last seen, in seconds.
const TTL: i64 = 3600;
/// How often old ones are looked for.
const EVERY: Duration = Duration::from_secs(60);
const EVENTS: &str = "/registry/events/";

/// Removes old events, for ever.
pub async fn run(api: Arc<Api>) -> anyhow::Result<()> {
    loop {
        tokio::time::sleep(EVERY).await;
        if let Err(error) = sweep(&api, Timestamp::now().as_second()).await {
            tracing::warn!(%error, "cannot remove old events");
        }
    }
}

async fn sweep(api: &Arc<Api>, now: i64) -> Result<(), StoreError> {
    let Some(events) = api.cache.resource(EVENTS) else { return Ok(()) };
    let snapshot = events.snapshot();
    for event in snapshot.objects.scan(&Scope::All, None) {
        if now.saturating_sub(last_seen(event)) > TTL {
            let key = format!("{EVENTS}{}", event.key());
            // Somebody who wrote it meanwhile keeps it: a conflict is fine.
            api.store.commit(vec![Op::delete(key, event.revision())]).await?;
        }
    }
    Ok(())
}

/// When an event was last seen, in Unix seconds; never (so: now) when it does not say.
fn last_seen(event: &CachedObject) -> i64 {
    let value: Value = serde_json::from_slice(&event.json()).unwrap_or_default();
    let stamps = [
        value.str_at(&["series", "lastObservedTime"]),
        value.str_at(&["lastTimestamp"]),
        value.str_at(&["eventTime"]),
        value.meta_str("creationTimestamp"),
    ];
    stamps
        .into_iter()
        .filter_map(|s| s.parse::<Timestamp>().ok())
        .map(Timestamp::as_second)
        .max()
        .unwrap_or(i64::MAX)
}
