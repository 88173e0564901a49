//! What to do about one object: let it live, drop references to owners that
//! are gone, delete it, or help its own deletion on. Pure; owners that the
//! graph does not know have been asked for at the API server before.
//! Upstream: `pkg/controller/garbagecollector/garbagecollector.go`.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::{Value, json};

use super::graph::{FOREGROUND, Graph, ORPHAN, Object, Owner, Uid};
use crate::frame::{Action, Plan, Propagation};

/// What stands between an object and its plan.
#[derive(Debug, PartialEq)]
pub enum Decision {
    /// These owners are not in the graph; ask whether they exist.
    Ask(Vec<Owner>),
    /// Do this, then look at these.
    Act(Plan, Vec<Uid>),
}

/// Decides about one object; `is_gone` tells owners known not to exist, `alive` holds those known to.
pub fn decide(
    graph: &Graph,
    object: &Object,
    is_gone: impl Fn(&Uid) -> bool,
    alive: &HashSet<Uid>,
) -> Decision {
    if object.deleting {
        return if object.has_finalizer(FOREGROUND) {
            go_last(graph, object)
        } else if object.has_finalizer(ORPHAN) {
            Decision::Act(let_go(graph, object), vec![])
        } else {
            Decision::Act(Plan::default(), vec![])
        };
    }
    let (mut solid, mut waiting, mut dangling, mut unknown) = (vec![], vec![], vec![], vec![]);
    let mut plan = Plan::default();
    for owner in &object.owners {
        if graph.get(&owner.uid).is_some_and(|found| !is_in_reach(object, found)) {
            plan.actions.push(astray(object, owner));
        }
        match graph.get(&owner.uid).filter(|found| is_in_reach(object, found)) {
            Some(found) if found.waits_for_dependents() => waiting.push(owner.uid.clone()),
            Some(_) => solid.push(owner.uid.clone()),
            None if is_gone(&owner.uid) => dangling.push(owner.uid.clone()),
            None if alive.contains(&owner.uid) => solid.push(owner.uid.clone()),
            None => unknown.push(owner.clone()),
        }
    }
    if !unknown.is_empty() {
        return Decision::Ask(unknown);
    }
    if !solid.is_empty() {
        dangling.extend(waiting);
        if !dangling.is_empty() {
            plan.actions.push(without_owners(object, &dangling));
        }
    } else if !waiting.is_empty() && closes_a_circle(graph, object) {
        // Each would wait for the other for ever, so this one no longer holds its owners up.
        plan.actions.push(unblocked(object));
        return Decision::Act(plan, vec![object.uid.clone()]);
    } else if !waiting.is_empty() && !graph.dependents(&object.uid).is_empty() {
        plan.actions.push(delete(object, Propagation::Foreground));
    } else if !waiting.is_empty() || !dangling.is_empty() {
        let propagation = if object.has_finalizer(ORPHAN) {
            Propagation::Orphan
        } else if object.has_finalizer(FOREGROUND) {
            Propagation::Foreground
        } else {
            Propagation::Background
        };
        plan.actions.push(delete(object, propagation));
    }
    Decision::Act(plan, vec![])
}

/// Whether an object that holds its owners up would itself wait for one that waits already.
fn closes_a_circle(graph: &Graph, object: &Object) -> bool {
    object.owners.iter().any(|owner| owner.blocks == Some(true))
        && graph.dependents(&object.uid).iter().any(|dependent| dependent.waits_for_dependents())
}

/// An owner is cluster-wide or in the object's own namespace.
fn is_in_reach(object: &Object, owner: &Object) -> bool {
    owner.namespace.is_empty() || owner.namespace == object.namespace
}

/// Tells that an owner is in another namespace than the object.
fn astray(object: &Object, owner: &Owner) -> Action {
    let namespace = &object.namespace;
    Action::Tell {
        about: ObjectReference {
            api_version: Some(object.kind.api_version()),
            kind: Some(object.kind.kind.clone()),
            namespace: Some(namespace.to_string()).filter(|namespace| !namespace.is_empty()),
            name: Some(object.name.to_string()),
            uid: Some(object.uid.to_string()),
            ..ObjectReference::default()
        },
        warning: true,
        reason: "OwnerRefInvalidNamespace",
        message: format!(
            "ownerRef [{}/{}, namespace: {namespace}, name: {}, uid: {}] does not exist in namespace {namespace:?}",
            owner.api_version, owner.kind, owner.name, owner.uid
        ),
    }
}

/// A foreground deletion: dependents that block it go first.
fn go_last(graph: &Graph, object: &Object) -> Decision {
    let dependents = graph.dependents(&object.uid);
    let blocks = |dependent: &&&Object| {
        dependent.owners.iter().any(|owner| owner.uid == object.uid && owner.blocks == Some(true))
    };
    if !dependents.iter().any(|dependent| blocks(&dependent)) {
        let plan = Plan { actions: vec![without_finalizer(object, FOREGROUND)], requeue_after: None };
        return Decision::Act(plan, vec![]);
    }
    let next =
        dependents.iter().filter(|dependent| !dependent.deleting).map(|dependent| dependent.uid.clone());
    Decision::Act(Plan::default(), next.collect())
}

/// An orphaning deletion: dependents lose the reference, then the object goes.
fn let_go(graph: &Graph, object: &Object) -> Plan {
    let dependents = graph.dependents(&object.uid);
    let mut actions: Vec<Action> = dependents
        .into_iter()
        .map(|dependent| without_owners(dependent, std::slice::from_ref(&object.uid)))
        .collect();
    actions.push(without_finalizer(object, ORPHAN));
    Plan { actions, requeue_after: None }
}

fn delete(object: &Object, propagation: Propagation) -> Action {
    Action::Delete {
        kind: (*object.kind).clone(),
        namespace: object.namespace.to_string(),
        name: object.name.to_string(),
        uid: object.uid.to_string(),
        resource_version: Some(object.resource_version.to_string()),
        propagation: Some(propagation),
        grace: None,
        told: None,
    }
}

fn patch(object: &Object, mut metadata: Value) -> Action {
    metadata["uid"] = json!(&*object.uid);
    metadata["resourceVersion"] = json!(&*object.resource_version);
    Action::Patch {
        kind: (*object.kind).clone(),
        namespace: object.namespace.to_string(),
        name: object.name.to_string(),
        subresource: None,
        body: json!({ "metadata": metadata }),
        told: None,
    }
}

fn without_owners(object: &Object, uids: &[Uid]) -> Action {
    let kept = object.owners.iter().filter(|owner| !uids.contains(&owner.uid));
    let references: Vec<OwnerReference> = kept.map(reference).collect();
    patch(object, json!({"ownerReferences": references}))
}

fn unblocked(object: &Object) -> Action {
    let freed = |owner| OwnerReference { block_owner_deletion: Some(false), ..reference(owner) };
    let references: Vec<OwnerReference> = object.owners.iter().map(freed).collect();
    patch(object, json!({"ownerReferences": references}))
}

fn reference(owner: &Owner) -> OwnerReference {
    OwnerReference {
        api_version: owner.api_version.to_string(),
        kind: owner.kind.to_string(),
        name: owner.name.to_string(),
        uid: owner.uid.to_string(),
        controller: owner.controller,
        block_owner_deletion: owner.blocks,
    }
}

fn without_finalizer(object: &Object, finalizer: &str) -> Action {
    let kept: Vec<&str> =
        object.finalizers.iter().map(|kept| &**kept).filter(|kept| *kept != finalizer).collect();
    patch(object, json!({"finalizers": kept}))
}
