//! The loops of the API server itself: what of the cluster's objects it keeps in order, since nobody else can.
//!
//! Each looks at everything that concerns it whenever something of that changes ([`follow`]), and runs until the
//! process stops; one that ends before that ends the process. Upstream counterparts: the controllers in
//! `apiextensions-apiserver`, kube-aggregator and `apiserver/pkg/util/flowcontrol`.

mod api_services;
mod authentication;
mod custom_kinds;
mod event_expiry;
mod first_objects;
mod flow_schemas;
mod policy_types;
mod remotes;
pub mod servers;
mod statuses;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::Context as _;
use api::status::Status;
use futures::{FutureExt as _, future::select_all};
use machinery::{backoff::Backoff, tasks::Tasks};

use crate::{
    Api,
    resources::BuiltIn,
    watch_cache::{Filter, Resource, Scope, WatchCache, WatchFrom},
};

/// The pauses before what could not be brought in order is looked at again: the first and the longest.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// Starts all of them.
pub fn start(api: &Arc<Api>, tasks: &Tasks) {
    tasks.spawn_loop("event-expiry", event_expiry::run(api.clone()));
    let places = first_objects::places(api);
    let followed: BTreeSet<_> = places.iter().map(|(resource, _)| *resource).collect();
    let subject = (api.clone(), places);
    tasks.spawn_loop("first-objects", follow(api.cache.clone(), followed, (subject, first_objects::look)));
    keep(api, tasks, "authentication", authentication::followed(), authentication::look);
    keep(api, tasks, "flow-schemas", flow_schemas::FOLLOWED, flow_schemas::look);
    keep(api, tasks, "custom-kinds", custom_kinds::FOLLOWED, custom_kinds::look);
    keep(api, tasks, "policy-types", policy_types::FOLLOWED, policy_types::look);
    keep(api, tasks, "api-services", api_services::FOLLOWED, api_services::look);
    let subject = (api.clone(), remotes::Asked::default());
    tasks.spawn_loop("remotes", follow(api.cache.clone(), remotes::FOLLOWED, (subject, remotes::look)));
}

/// Starts a loop that needs nothing but the server.
fn keep<Looking>(
    api: &Arc<Api>,
    tasks: &Tasks,
    name: &'static str,
    followed: impl IntoIterator<Item: Into<Followed>> + Send + 'static,
    look: impl Fn(Arc<Api>) -> Looking + Send + Sync + 'static,
) where
    Looking: Future<Output = Result<Left, Status>> + Send + 'static,
{
    tasks.spawn_loop(name, follow(api.cache.clone(), followed, (api.clone(), look)));
}

/// Whether a look left anything to do.
enum Left {
    Nothing,
    Something,
    /// Time alone may make something of it.
    Later(Duration),
}

/// What a loop follows.
struct Followed {
    resource: BuiltIn,
    scope: Scope,
    filter: Option<Filter>,
}

impl From<BuiltIn> for Followed {
    fn from(resource: BuiltIn) -> Self {
        Self { resource, scope: Scope::All, filter: None }
    }
}

/// What the cache has of a resource.
fn cached(cache: &WatchCache, BuiltIn { prefix, .. }: BuiltIn) -> anyhow::Result<Arc<Resource>> {
    cache.resource(prefix).with_context(|| format!("{prefix} is not cached"))
}

/// Looks now, and again whenever an object that is followed has changed, for ever. After a look that failed or
/// left something to do comes another one, though nothing changes, after ever longer pauses.
///
/// # Errors
/// When there is no such resource.
async fn follow<S: Clone, Looking>(
    cache: Arc<WatchCache>,
    followed: impl IntoIterator<Item: Into<Followed>>,
    (subject, look): (S, impl Fn(S) -> Looking),
) -> anyhow::Result<()>
where
    Looking: Future<Output = Result<Left, Status>>,
{
    let followed = followed.into_iter().map(|followed| {
        let Followed { resource, scope, filter } = followed.into();
        Ok((cached(&cache, resource)?, scope, filter))
    });
    let followed = followed.collect::<anyhow::Result<Vec<_>>>()?;
    let (first, longest) = LOOK_AGAIN;
    let mut backoff = Backoff::new(first, longest);
    loop {
        // They begin before the look, so that nothing that changes during it is missed.
        let watchers = followed
            .iter()
            .map(|(resource, scope, filter)| resource.watch(WatchFrom::Now, scope.clone(), filter.clone()));
        let mut watchers = watchers.collect::<Result<Vec<_>, _>>()?;
        let pause = match look(subject.clone()).await {
            Ok(Left::Nothing) => Duration::MAX,
            Ok(Left::Later(pause)) => pause,
            Ok(Left::Something) => backoff.pause(),
            Err(error) => {
                let prefixes: Vec<_> =
                    followed.iter().map(|(resource, ..)| &resource.spec().prefix).collect();
                tracing::warn!(?prefixes, %error, "cannot bring everything in order yet");
                backoff.pause()
            }
        };
        // Whatever a watch tells, also that it ended: look again.
        let changed = select_all(watchers.iter_mut().map(|watcher| watcher.next(1).boxed()));
        tokio::select! {
            _told = changed => backoff.reset(),
            () = tokio::time::sleep(pause) => {}
        }
    }
}
