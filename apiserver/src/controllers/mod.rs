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
    watch_cache::{Resource, Scope, WatchCache, WatchFrom},
};

/// The pauses before what could not be brought in order is looked at again: the first and the longest.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// Starts all of them.
pub fn start(api: &Arc<Api>, tasks: &Tasks) {
    tasks.spawn_loop("event-expiry", event_expiry::run(api.clone()));
    let places = first_objects::places(api);
    let followed: BTreeSet<_> = places.iter().map(|(resource, _)| *resource).collect();
    let look = ((api.clone(), places), first_objects::look);
    tasks.spawn_loop("first-objects", follow(api.cache.clone(), followed, look));
    let look = (api.clone(), authentication::look);
    tasks.spawn_loop("authentication", follow(api.cache.clone(), authentication::followed(), look));
    let look = (api.clone(), flow_schemas::look);
    tasks.spawn_loop("flow-schemas", follow(api.cache.clone(), flow_schemas::FOLLOWED, look));
    let look = (api.clone(), custom_kinds::look);
    tasks.spawn_loop("custom-kinds", follow(api.cache.clone(), custom_kinds::FOLLOWED, look));
    let look = (api.clone(), policy_types::look);
    tasks.spawn_loop("policy-types", follow(api.cache.clone(), policy_types::FOLLOWED, look));
    let look = (api.clone(), api_services::look);
    tasks.spawn_loop("api-services", follow(api.cache.clone(), api_services::FOLLOWED, look));
    let look = ((api.clone(), remotes::Asked::default()), remotes::look);
    tasks.spawn_loop("remotes", follow(api.cache.clone(), remotes::FOLLOWED, look));
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
}

impl From<BuiltIn> for Followed {
    fn from(resource: BuiltIn) -> Self {
        Self { resource, scope: Scope::All }
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
        let Followed { resource, scope } = followed.into();
        Ok((cached(&cache, resource)?, scope))
    });
    let followed = followed.collect::<anyhow::Result<Vec<_>>>()?;
    let (first, longest) = LOOK_AGAIN;
    let mut backoff = Backoff::new(first, longest);
    loop {
        // They begin before the look, so that nothing that changes during it is missed.
        let watch =
            |(resource, scope): &(Arc<Resource>, Scope)| resource.watch(WatchFrom::Now, scope.clone(), None);
        let mut watchers = followed.iter().map(watch).collect::<Result<Vec<_>, _>>()?;
        let pause = match look(subject.clone()).await {
            Ok(Left::Nothing) => Duration::MAX,
            Ok(Left::Later(pause)) => pause,
            Ok(Left::Something) => backoff.pause(),
            Err(error) => {
                let prefixes: Vec<_> = followed.iter().map(|(resource, _)| &resource.spec().prefix).collect();
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
