//! Kubelets: each reads what its pods need, and no more. Counterpart of upstream's `plugin/pkg/auth/authorizer/node`;
//! that it writes only itself and its pods is [`crate::admission`]'s to say.
//!
//! Invariant: an object leads to the nodes of the pods that name it, and a volume to those of the pods with its claim.

use std::collections::{BTreeSet, HashMap};

use api::{
    Message, message,
    object::ObjectExt as _,
    pod::{
        MIRROR,
        references::{self, Sort as Referred},
    },
};
use k8s_openapi::api::rbac::v1::PolicyRule;
use serde_json::Value;

use super::{Action, rules};
use crate::{
    auth::User,
    forms::value,
    resources::{BuiltIn, PERSISTENT_VOLUMES, PODS, RESOURCE_SLICES, VOLUME_ATTACHMENTS},
    watch_cache::{CachedObject, Indexed},
};

/// What is indexed.
pub const RESOURCES: [BuiltIn; 4] = [PODS, PERSISTENT_VOLUMES, VOLUME_ATTACHMENTS, RESOURCE_SLICES];

const NODES_GROUP: &str = "system:nodes";
const USER_PREFIX: &str = "system:node:";
const LEASES: &str = "kube-node-lease";

/// Something that a kubelet may need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Needed {
    Attachment,
    Pod,
    Slice,
    /// What pods name.
    Of(Referred),
}

use Needed::Of;

/// What is needed, and its key.
type Thing = (Needed, Box<str>);

/// What an object names, and for which node.
type Named = (Box<str>, Vec<Thing>);

/// A volume's claim, and the secrets that it takes to mount it.
type Claimed = (Box<str>, Vec<Box<str>>);

/// What leads to which nodes.
#[derive(Default)]
pub struct Relations {
    /// Each object of an indexed resource, but volumes, by number and key.
    named: HashMap<(usize, Box<str>), Named>,
    /// By how many objects of a node a thing is named.
    nodes: HashMap<Thing, HashMap<Box<str>, usize>>,
    volumes: HashMap<Box<str>, Claimed>,
    volumes_by_secret: HashMap<Box<str>, BTreeSet<Box<str>>>,
}

/// The node that a user is: "" if it cannot be said which.
pub fn identity(user: &User) -> Option<&str> {
    user.name.strip_prefix(USER_PREFIX).filter(|_| user.groups.iter().any(|group| group == NODES_GROUP))
}

impl Indexed for Relations {
    fn take(&mut self, part: usize, object: &CachedObject) {
        self.forget(part, object);
        if part == 0 && object.field("spec.nodeName").is_none_or(str::is_empty) {
            return;
        }
        let Ok(read) = value(object) else { return };
        let key: Box<str> = object.key().into();
        let (node, things) = match part {
            0 => (read.str_at(&["spec", "nodeName"]), needs(&read)),
            1 => return self.take_volume(key, &read),
            2 => (read.str_at(&["spec", "nodeName"]), vec![(Needed::Attachment, key.clone())]),
            _ => (read.str_at(&["spec", "nodeName"]), vec![(Needed::Slice, key.clone())]),
        };
        if node.is_empty() {
            return;
        }
        for thing in &things {
            *self.nodes.entry(thing.clone()).or_default().entry(node.into()).or_default() += 1;
        }
        self.named.insert((part, key), (node.into(), things));
    }

    fn forget(&mut self, part: usize, object: &CachedObject) {
        let key: Box<str> = object.key().into();
        if part == 1 {
            self.forget_volume(&key);
        } else if let Some((node, things)) = self.named.remove(&(part, key)) {
            self.release(&node, things);
        }
    }

    fn clear(&mut self, part: usize) {
        if part == 1 {
            self.volumes.clear();
            self.volumes_by_secret.clear();
        }
        let gone: Vec<_> = self.named.extract_if(|(of, _), _| *of == part).collect();
        gone.into_iter().for_each(|(_, (node, things))| self.release(&node, things));
    }
}

impl Relations {
    fn release(&mut self, node: &str, things: Vec<Thing>) {
        for thing in things {
            let Some(nodes) = self.nodes.get_mut(&thing) else { continue };
            if let Some(count) = nodes.get_mut(node) {
                *count -= 1;
                if *count == 0 {
                    nodes.remove(node);
                }
            }
            if nodes.is_empty() {
                self.nodes.remove(&thing);
            }
        }
    }

    fn take_volume(&mut self, key: Box<str>, volume: &Value) {
        let claim = |field| volume.str_at(&["spec", "claimRef", field]);
        if claim("name").is_empty() {
            return;
        }
        let namespace = claim("namespace");
        let secrets = secrets_of_volume(volume, namespace);
        for secret in &secrets {
            self.volumes_by_secret.entry(secret.clone()).or_default().insert(key.clone());
        }
        self.volumes.insert(key, (format!("{namespace}/{}", claim("name")).into(), secrets));
    }

    fn forget_volume(&mut self, key: &str) {
        let Some((_, secrets)) = self.volumes.remove(key) else { return };
        for secret in secrets {
            if let Some(volumes) = self.volumes_by_secret.get_mut(&secret) {
                volumes.remove(key);
                if volumes.is_empty() {
                    self.volumes_by_secret.remove(&secret);
                }
            }
        }
    }

    fn leads(&self, sort: Needed, key: &str, node: &str) -> bool {
        let named = self.nodes.get(&(sort, Box::from(key))).is_some_and(|nodes| nodes.contains_key(node));
        let mounted = || {
            let volumes = self.volumes_by_secret.get(key).into_iter().flatten();
            sort == Of(Referred::Secret) && volumes.into_iter().any(|volume| self.volume_leads(volume, node))
        };
        named || mounted()
    }

    fn volume_leads(&self, volume: &str, node: &str) -> bool {
        self.volumes.get(volume).is_some_and(|(claim, _)| self.leads(Of(Referred::Claim), claim, node))
    }

    /// Lets a node do something; `rules` are about what is the same for all nodes.
    ///
    /// # Errors
    /// Why not, in upstream's words.
    pub fn allow(&self, node: &str, action: &Action<'_>, rules: &[PolicyRule]) -> Result<(), Message> {
        let Action::Resource { verb, group, resource, subresource, namespace, name, fields } = *action else {
            return by_rules(action, rules);
        };
        let reads = matches!(verb, "get" | "list" | "watch");
        let selected =
            |field: &str| fields.and_then(|fields| fields.required_value(field)).is_some_and(|n| n == node);
        let key = if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") };
        let related = |is_so: bool| match is_so {
            _ if name.is_empty() => Err("No Object name found".into()),
            true => Ok(()),
            false => Err(message!("no relationship found between node '{node}' and this object")),
        };
        let read = |sort| match () {
            () if !reads => Err("can only read resources of this type".into()),
            () if !subresource.is_empty() => Err("cannot read subresource".into()),
            () if namespace.is_empty() => Err("can only read namespaced object of this type".into()),
            () => related(self.leads(sort, &key, node)),
        };
        let get = |is_so: &dyn Fn() -> bool| match () {
            () if verb != "get" => Err("can only get individual resources of this type".into()),
            () if !subresource.is_empty() => Err("cannot get subresource".into()),
            () => related(is_so()),
        };
        let of = |sort| {
            let key = &key;
            move || self.leads(sort, key, node)
        };
        match (group, resource) {
            ("", "secrets") => read(Of(Referred::Secret)),
            ("", "configmaps") => read(Of(Referred::ConfigMap)),
            ("", "persistentvolumeclaims") if subresource == "status" => match verb {
                "update" | "patch" => related(of(Of(Referred::Claim))()),
                _ => Err("can only get/update/patch this type".into()),
            },
            ("", "persistentvolumeclaims") => get(&of(Of(Referred::Claim))),
            ("", "persistentvolumes") => get(&|| self.volume_leads(name, node)),
            ("resource.k8s.io", "resourceclaims") => get(&of(Of(Referred::ResourceClaim))),
            ("storage.k8s.io", "volumeattachments") => get(&of(Needed::Attachment)),
            ("", "serviceaccounts") if verb == "get" && subresource.is_empty() => read(Of(Referred::Account)),
            ("", "serviceaccounts") => match (verb, subresource) {
                ("create", "token") if !name.is_empty() => related(of(Of(Referred::Account))()),
                ("create", _) if !name.is_empty() => {
                    Err("can only create token subresource of serviceaccount".into())
                }
                _ => Err("can only create tokens for individual service accounts".into()),
            },
            ("coordination.k8s.io", "leases") => own(action, node, "a node lease", "node lease"),
            ("storage.k8s.io", "csinodes") => own(action, node, "a CSINode", "CSINode"),
            ("resource.k8s.io", "resourceslices") => match verb {
                _ if !subresource.is_empty() => Err("cannot authorize ResourceSlice subresources".into()),
                "create" => Ok(()),
                "get" | "update" | "patch" | "delete" => related(of(Needed::Slice)()),
                "watch" | "list" | "deletecollection" if selected("spec.nodeName") => Ok(()),
                "watch" | "list" | "deletecollection" => {
                    Err("can only list/watch/deletecollection resourceslices with nodeName field selector".into())
                }
                _ => Err("only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection".into()),
            },
            ("", "nodes") => match (subresource, verb) {
                ("", "create") | ("" | "status", "update" | "patch") => Ok(()),
                ("", _) if reads && name == node => Ok(()),
                ("", _) if reads && name.is_empty() => {
                    Err(message!("node '{node}' cannot read all nodes, only its own Node object"))
                }
                ("", _) if reads => {
                    Err(message!("node '{node}' cannot read '{name}', only its own Node object"))
                }
                _ => Err("".into()),
            },
            ("", "pods") => match (subresource, verb) {
                ("", "get") => get(&of(Needed::Pod)),
                ("", "list" | "watch") if selected("spec.nodeName") => Ok(()),
                ("", "list" | "watch") if !name.is_empty() => related(of(Needed::Pod)()),
                ("", "list" | "watch") => Err("can only list/watch pods with spec.nodeName field selector".into()),
                ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => Ok(()),
                _ => Err("".into()),
            },
            _ => by_rules(action, rules),
        }
    }
}

fn by_rules(action: &Action<'_>, rules: &[PolicyRule]) -> Result<(), Message> {
    if rules.iter().any(|rule| rules::allows(rule, action)) { Ok(()) } else { Err("".into()) }
}

/// Lets a node at the object that has its name. Of a new one the name is not known yet.
fn own(action: &Action<'_>, node: &str, one: &str, called: &str) -> Result<(), Message> {
    let Action::Resource { verb, resource, subresource, namespace, name, .. } = *action else {
        return Ok(());
    };
    let is_lease = resource == "leases";
    match verb {
        "get" | "create" | "update" | "patch" | "delete" => {}
        _ => return Err(message!("can only get, create, update, patch, or delete {one}")),
    }
    if is_lease && namespace != LEASES {
        return Err(message!("can only access leases in the {LEASES:?} system namespace"));
    }
    if !is_lease && !subresource.is_empty() {
        return Err("cannot authorize CSINode subresources".into());
    }
    if verb != "create" && name != node {
        return Err(message!("can only access {called} with the same name as the requesting node"));
    }
    Ok(())
}

/// What a pod needs of others, and itself.
fn needs(pod: &Value) -> Vec<Thing> {
    let own = (Needed::Pod, pod.key().into());
    if pod.at(&["metadata", "annotations", MIRROR]).is_some() {
        // What a node says that it runs gives it nothing.
        return vec![own];
    }
    let key = |name: String| format!("{}/{name}", pod.namespace()).into();
    std::iter::once(own)
        .chain(references::named(pod).into_iter().map(|(sort, name)| (Of(sort), key(name))))
        .collect()
}

/// The secrets that a kubelet needs to mount a volume that is claimed in `namespace`.
fn secrets_of_volume(volume: &Value, namespace: &str) -> Vec<Box<str>> {
    const REFERENCES: &[&str] =
        &["secretRef", "nodeStageSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef"];
    let mut all: Vec<Box<str>> = Vec::new();
    let mut add = |place: &str, name: &str| {
        let place = if place.is_empty() { namespace } else { place };
        if !name.is_empty() {
            all.push(format!("{place}/{name}").into());
        }
    };
    let spec = volume.get("spec").and_then(Value::as_object);
    for source in spec.into_iter().flat_map(|sources| sources.values()) {
        add(source.str_at(&["secretNamespace"]), source.str_at(&["secretName"]));
        for reference in REFERENCES {
            add(source.str_at(&[reference, "namespace"]), source.str_at(&[reference, "name"]));
        }
    }
    all
}

#[cfg(test)]
mod tests;
