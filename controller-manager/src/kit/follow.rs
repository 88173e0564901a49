//! Which owners a change concerns. A change only says whom to look at again.

use k8s_openapi::Metadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use machinery::cache::{Cache, Change};
use machinery::queue::Queue;

use super::owners;
use crate::frame::{Cached, Key};

/// Has an object looked at again whenever it changes.
pub fn objects<K: Cached + kube::Resource>(cache: &Cache<K>, queue: &Queue<Key>) {
    let keys = queue.clone();
    cache.on_change(move |change| keys.add(Key::of(Metadata::metadata(&**change.latest()))));
}

/// Has owners looked at again when what they own changes in a way that `matters`, and those who would `take` it
/// when it is nobody's.
pub fn dependents<O, D>(
    owners: &Cache<O>,
    dependents: &Cache<D>,
    queue: &Queue<Key>,
    matters: fn(&Change<D>) -> bool,
    takes: fn(&O, &ObjectMeta) -> bool,
) where
    O: Cached + kube::Resource,
    D: Cached + kube::Resource,
{
    let (keys, owners) = (queue.clone(), owners.clone());
    dependents.on_change(move |change| {
        if !matters(change) {
            return;
        }
        for dependent in change.old.iter().chain(&change.new) {
            let meta = Metadata::metadata(&**dependent);
            let namespace = owners::namespace(meta);
            match owners::controller_of(meta) {
                Some(owner) if is_a::<O>(owner) => keys.add(Key::new(namespace, &owner.name)),
                Some(_) => {}
                None => owners
                    .list_in(namespace)
                    .iter()
                    .filter(|owner| takes(owner, meta))
                    .for_each(|owner| keys.add(Key::of(Metadata::metadata(&**owner)))),
            }
        }
    });
}

fn is_a<O: k8s_openapi::Resource>(owner: &OwnerReference) -> bool {
    let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
    owner.kind == O::KIND && group == O::GROUP
}
