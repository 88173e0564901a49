//! What is made of the objects of some resources, webhooks or policies: kept until one of them changes, so that a write
//! only finds out that none has.

use std::sync::Arc;

use api::status::Status;
use tokio::sync::Mutex;

use super::request::apart;
use crate::{
    Api,
    resources::BuiltIn,
    store::Revision,
    watch_cache::{Objects, Scope},
};

/// What is made of the objects of `N` resources.
pub struct Derived<T, const N: usize> {
    resources: [BuiltIn; N],
    /// With the revisions of the last changes that it shows.
    made: Mutex<([Revision; N], Arc<T>)>,
}

impl<T: Default + Send + Sync + 'static, const N: usize> Derived<T, N> {
    /// Nothing yet.
    pub fn of(resources: [BuiltIn; N]) -> Self {
        Self { resources, made: Mutex::new(([0; N], Arc::default())) }
    }

    /// Whether each of the resources has objects.
    pub fn is_any(&self, api: &Api) -> bool {
        let of = |resource: &BuiltIn| api.cache.resource(resource.prefix);
        self.resources.iter().all(|resource| of(resource).is_some_and(|resource| !resource.is_empty()))
    }

    /// What `make` makes of the objects, and of what was made of them before: it may take its time, apart from the workers
    /// that answer everybody, and who writes in the meantime waits for it.
    ///
    /// # Errors
    /// 500 when it panics, and when one of the objects cannot be read.
    pub async fn current(
        &self,
        api: &Api,
        make: impl FnOnce(&T, &[Objects; N]) -> T + Send + 'static,
    ) -> Result<Arc<T>, Status> {
        let mut made = self.made.lock().await;
        // Read before the objects: they are at least this new.
        let changed = |resource: BuiltIn| api.cache.resource(resource.prefix).map_or(0, |r| r.changed());
        let at = self.resources.map(changed);
        if made.0 != at {
            let (last, objects) = (Arc::clone(&made.1), self.resources.map(|resource| api.objects(resource)));
            if let Some(key) = objects.iter().find_map(|objects| objects.unread(&Scope::All)) {
                // Nobody knows what it would say.
                return Err(Status::internal(format!(
                    "cannot read {key:?}, which admission may have to ask"
                )));
            }
            *made = (at, Arc::new(apart(move || make(&last, &objects)).await?));
        }
        Ok(Arc::clone(&made.1))
    }
}
