//! Where the pods of this node come from: the API, and a folder of manifests of the node's own.
//!
//! A pod of the folder, a static pod, has a uid made from its manifest and needs no API server. The API has a mirror of
//! it, which names that uid in an annotation: its status is the static pod's, and nobody obeys the rest of it.
//! Corresponds to upstream's `pkg/kubelet/config` and `pkg/kubelet/pod`.

pub mod folder;
mod manifest;
pub mod mirrors;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use api::pod::MIRROR;
pub use folder::Folder;
use k8s_openapi::api::core::v1::Pod;
use machinery::cache::Cache;
use parking_lot::RwLock;

use crate::labels::CONFIG_SOURCE;
use crate::pod_spec;
use crate::pod_worker::Subject;

/// The uid of the static pod that a pod of the API mirrors, if it does.
pub fn mirrored(pod: &Pod) -> Option<&str> {
    pod.metadata.annotations.as_ref()?.get(MIRROR).map(String::as_str)
}

/// Which pod one is; a mirror is what it mirrors.
pub fn subject(pod: &Pod) -> Subject {
    Subject {
        namespace: pod_spec::namespace(pod).to_owned(),
        name: pod_spec::name(pod).to_owned(),
        uid: mirrored(pod).unwrap_or(pod_spec::uid(pod)).to_owned(),
    }
}

/// A pod of the API as it is taken: no mirror is, and none is a static pod by its own word.
fn taken(pod: Arc<Pod>) -> Option<Arc<Pod>> {
    match mirrored(&pod) {
        Some(_) => None,
        None if pod_spec::is_static(&pod) => {
            let mut pod = Pod::clone(&pod);
            let annotations = pod.metadata.annotations.get_or_insert_default();
            annotations.insert(CONFIG_SOURCE.to_owned(), "api".to_owned());
            Some(Arc::new(pod))
        }
        None => Some(pod),
    }
}

/// The pods of this node.
pub struct Sources {
    /// Those of the API, mirrors among them.
    pub api: Cache<Pod>,
    /// Those of the folder, by uid.
    folder: RwLock<BTreeMap<String, Arc<Pod>>>,
}

impl Sources {
    /// The API's pods, and those of a folder as soon as they are known.
    pub fn new(api: Cache<Pod>) -> Self {
        Self { api, folder: RwLock::default() }
    }

    /// All pods, with their status as the API shows it.
    pub fn list(&self) -> Vec<Arc<Pod>> {
        let of_api = self.api.list().into_iter().filter_map(taken);
        of_api.chain(self.of_folder().iter().map(|pod| self.with_status(pod))).collect()
    }

    /// The pod of that name; one of the folder comes first.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<Pod>> {
        let named = |pod: &&Arc<Pod>| pod_spec::namespace(pod) == namespace && pod_spec::name(pod) == name;
        if let Some(pod) = self.of_folder().iter().find(named) {
            return Some(self.with_status(pod));
        }
        self.api.get(Some(namespace), name).and_then(taken)
    }

    /// A pod as its source has it, with the status that the API shows.
    pub fn of(&self, subject: &Subject) -> Option<Arc<Pod>> {
        if let Some(pod) = self.folder.read().get(&subject.uid) {
            return Some(self.with_status(pod));
        }
        self.in_api(subject).and_then(taken)
    }

    /// What the API has of a pod: itself or its mirror.
    pub fn in_api(&self, wanted: &Subject) -> Option<Arc<Pod>> {
        let pod = self.api.get(Some(&wanted.namespace), &wanted.name);
        pod.filter(|pod| subject(pod) == *wanted)
    }

    /// The pods of the folder.
    pub fn of_folder(&self) -> Vec<Arc<Pod>> {
        self.folder.read().values().cloned().collect()
    }

    /// Whether a pod is of the folder.
    pub fn is_of_folder(&self, uid: &str) -> bool {
        self.folder.read().contains_key(uid)
    }

    /// The folder has these pods now; answers which have come, changed or gone.
    pub fn replace(&self, pods: Vec<Arc<Pod>>) -> Vec<Subject> {
        let pods = pods.into_iter().map(|pod| (pod_spec::uid(&pod).to_owned(), pod)).collect();
        let before = std::mem::replace(&mut *self.folder.write(), pods);
        let now = self.folder.read();
        let gone = before.iter().filter(|(uid, _)| !now.contains_key(*uid));
        let come = now.iter().filter(|(uid, pod)| before.get(*uid) != Some(pod));
        gone.chain(come).map(|(_, pod)| subject(pod)).collect()
    }

    fn with_status(&self, pod: &Arc<Pod>) -> Arc<Pod> {
        match self.in_api(&subject(pod)).and_then(|mirror| mirror.status.clone()) {
            Some(status) => Arc::new(Pod { status: Some(status), ..Pod::clone(pod) }),
            None => Arc::clone(pod),
        }
    }
}
