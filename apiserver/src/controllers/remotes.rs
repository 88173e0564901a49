//! Whether the servers that APIServices name answer, written into those, and what they tell of themselves.
//!
//! A server is asked when something of what leads to it has changed, and from time to time; each question is bounded in
//! time and size. Upstream counterparts: kube-aggregator's availability controller and discovery manager.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use api::{Message, conditions, object::ObjectExt as _, status::Status};
use futures::{StreamExt as _, stream};
use parking_lot::Mutex;
use serde_json::Value;

use super::{Left, statuses::tell};
use crate::{
    Api,
    aggregation::{Place, Remote, told},
    resources::{API_SERVICES, BuiltIn, ENDPOINT_SLICES, SERVICES},
    stamp::now,
};

/// Who says in `managedFields` what is available.
pub const MANAGER: &str = "kube-apiserver";
/// What changes where servers are.
pub const FOLLOWED: [BuiltIn; 3] = [API_SERVICES, SERVICES, ENDPOINT_SLICES];
/// How often one that answers is asked, and one that does not.
const AGAIN: Duration = Duration::from_secs(30);
const AGAIN_SOON: Duration = Duration::from_secs(1);
/// How many are asked at the same time.
const AT_ONCE: usize = 16;
/// The largest lists of resources and OpenAPI documents that are read.
const MAX_DISCOVERY: usize = 1 << 20;
const MAX_OPENAPI: usize = 8 << 20;

/// The last answers, by the names of APIServices.
pub type Asked = Arc<Mutex<HashMap<String, Answer>>>;

/// What came of asking a server.
#[derive(Clone)]
pub struct Answer {
    spec: Value,
    places: Vec<Place>,
    at: Instant,
    failure: Option<Message>,
}

impl Answer {
    /// For how long it still stands for this server.
    fn holds(&self, remote: &Remote, places: &[Place]) -> Duration {
        let again = if self.failure.is_some() { AGAIN_SOON } else { AGAIN };
        let same = self.spec == *remote.spec() && self.places == places;
        if same { again.saturating_sub(self.at.elapsed()) } else { Duration::ZERO }
    }
}

/// Asks those whose last answer stands no more, and tells of all.
pub async fn look((api, asked): (Arc<Api>, Asked)) -> Result<Left, Status> {
    api.cache.fresh().await?;
    let remotes: Vec<Arc<Remote>> = api.table().remotes().cloned().collect();
    asked.lock().retain(|name, _| remotes.iter().any(|remote| remote.name == *name));
    let judged = stream::iter(remotes).map(|remote| judge(api.clone(), asked.clone(), remote));
    let judged: HashMap<String, Judged> = judged.buffer_unordered(AT_ONCE).collect().await;
    tell(&api, API_SERVICES, MANAGER, |service| {
        let mut told = service.clone();
        if let Some((state, reason, message, _)) = judged.get(service.name()) {
            conditions::set_in(&mut told, conditions::told("Available", *state, reason, message, &now()));
        }
        told
    })
    .await?;
    Ok(judged.values().map(|judged| judged.3).min().map_or(Left::Nothing, Left::Later))
}

/// Whether a server is available, upstream's reason and message, and when to look again.
type Judged = (bool, &'static str, String, Duration);

async fn judge(api: Arc<Api>, asked: Asked, remote: Arc<Remote>) -> (String, Judged) {
    let name = remote.name.clone();
    let mut places = match remote.places(&api) {
        Ok(places) => places,
        Err((reason, message)) => return (name, (false, reason, message, AGAIN)),
    };
    places.sort_by_key(|(host, port)| (host.ip(), *port));
    let known = asked.lock().get(&name).cloned();
    let answer = match known.filter(|known| !known.holds(&remote, &places).is_zero()) {
        Some(known) => known,
        None => {
            let failure = ask(&api, &remote, &places).await.err();
            let answer =
                Answer { spec: remote.spec().clone(), places: places.clone(), at: Instant::now(), failure };
            asked.lock().insert(name.clone(), answer.clone());
            answer
        }
    };
    let again = answer.holds(&remote, &places);
    let judged = match answer.failure {
        None => (true, "Passed", "all checks passed".into(), again),
        Some(why) => (false, "FailedDiscoveryCheck", why.into(), again),
    };
    (name, judged)
}

/// Asks a server for its resources, which says that it answers, and then for its OpenAPI documents if these have changed.
async fn ask(api: &Api, remote: &Remote, places: &[Place]) -> Result<(), Message> {
    let Remote { group, version, .. } = remote;
    let discovery = remote.ask(api, places, &format!("/apis/{group}/{version}"), MAX_DISCOVERY).await?;
    let mut told = told::Told { resources: told::resources(&discovery), ..told::Told::clone(&remote.told) };
    let index = remote.ask(api, places, "/openapi/v3", MAX_DISCOVERY).await;
    let v3 = index.ok().and_then(|index| told::v3(&index, group, version));
    if v3.is_none() || v3 != told.v3 {
        match remote.ask(api, places, "/openapi/v2", MAX_OPENAPI).await {
            Ok(document) => told.v2 = told::v2(&document, group, version).unwrap_or_default(),
            Err(why) => tracing::debug!(%why, name = remote.name, "no OpenAPI document"),
        }
        told.v3 = v3;
    }
    api.aggregation.learn(&api.registry, &remote.name, told);
    Ok(())
}
