//! What an update of a pod may change: very little.

use std::collections::{HashMap, HashSet};

use api::pod::MIRROR;
use k8s_openapi::api::core::v1::{Pod, PodSpec, Toleration};

use super::{annotations, gated};
use crate::builtin::difference::{line_diff, shown};
use crate::builtin::prelude::*;

/// What an ordinary update changes beyond the few fields that may change.
pub fn update(new: &Pod, old: &Pod, errors: &mut Errors) {
    annotations::update(new.metadata.annotations.as_ref(), old.metadata.annotations.as_ref(), errors);
    let at = Path::new("spec");
    let (Some(new), Some(old)) = (&new.spec, &old.spec) else { return };
    if !same_containers(new, old, &at, errors) {
        return;
    }
    deadline(new, old, &at.child("activeDeadlineSeconds"), errors);
    added_tolerations(new, old, &at.child("tolerations"), errors);
    let gates_at = at.child("schedulingGates");
    let had = old.scheduling_gates.as_deref().unwrap_or_default();
    let known: HashSet<&str> = had.iter().map(|gate| gate.name.as_str()).collect();
    for (at, gate) in gates_at.items(new.scheduling_gates.iter().flatten()) {
        if !known.contains(gate.name.as_str()) {
            let why = format!("only deletion is allowed, but found new scheduling gate '{}'", gate.name);
            errors.forbidden(&at.child("name"), &why);
        }
    }

    // What may change is taken from the old spec; the rest must be equal.
    let mut rest = new.clone();
    for (containers, were) in [
        (Some(&mut rest.containers), Some(&old.containers)),
        (rest.init_containers.as_mut(), old.init_containers.as_ref()),
    ] {
        for (container, was) in containers.into_iter().flatten().zip(were.into_iter().flatten()) {
            container.image.clone_from(&was.image);
        }
    }
    rest.active_deadline_seconds = old.active_deadline_seconds;
    rest.scheduling_gates.clone_from(&old.scheduling_gates);
    rest.tolerations.clone_from(&old.tolerations);
    if old.termination_grace_period_seconds.is_some_and(|s| s < 0)
        && rest.termination_grace_period_seconds == Some(1)
    {
        rest.termination_grace_period_seconds = old.termination_grace_period_seconds;
    }
    if !had.is_empty() {
        gated::update(new, old, &at, errors);
        gated::keep(&mut rest, old);
    }
    if rest != *old {
        let why = format!(
            "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n{}",
            difference(old, &rest)
        );
        errors.forbidden(&at, &why);
    }
}

/// Whether a static pod's mirror: what runs is not what the API server keeps.
pub(super) fn is_mirror(pod: &Pod) -> bool {
    pod.metadata.annotations.as_ref().is_some_and(|notes| notes.contains_key(MIRROR))
}

/// Refuses the whole change for one reason, whatever else is wrong with it.
pub(super) fn refuse(why: &str, errors: &mut Errors) {
    errors.clear();
    errors.forbidden(&Path::new("[]"), why);
}

fn same_containers(new: &PodSpec, old: &PodSpec, at: &Path, errors: &mut Errors) -> bool {
    let count = |spec: &PodSpec| spec.init_containers.as_ref().map_or(0, Vec::len);
    for (field, same) in [
        ("containers", new.containers.len() == old.containers.len()),
        ("initContainers", count(new) == count(old)),
    ] {
        if !same {
            errors.forbidden(&at.child(field), "pod updates may not add or remove containers");
            return false;
        }
    }
    true
}

fn deadline(new: &PodSpec, old: &PodSpec, at: &Path, errors: &mut Errors) {
    match (new.active_deadline_seconds, old.active_deadline_seconds) {
        (Some(now), before) => {
            if !(0..=i64::from(i32::MAX)).contains(&now) {
                errors.invalid(at, now, between(0, i32::MAX));
            } else if before.is_some_and(|before| before < now) {
                errors.invalid(at, now, "must be less than or equal to previous value");
            }
        }
        (None, Some(_)) => {
            errors.invalid(at, Value::Null, "must not update from a positive integer to nil value");
        }
        (None, None) => {}
    }
}

fn added_tolerations(new: &PodSpec, old: &PodSpec, at: &Path, errors: &mut Errors) {
    let all_but_time = |t: &Toleration| [&t.key, &t.operator, &t.value, &t.effect].map(Clone::clone);
    let now: HashSet<_> = new.tolerations.iter().flatten().map(all_but_time).collect();
    if !old.tolerations.iter().flatten().all(|was| now.contains(&all_but_time(was))) {
        errors.forbidden(at, "existing toleration can not be modified except its tolerationSeconds");
    }
}

/// Lines that differ between two specs, with those around them.
fn difference(old: &PodSpec, new: &PodSpec) -> String {
    // Sorted keys keep equal fields on equal lines.
    let text = |spec: &PodSpec| shown(&serde_json::to_value(spec).unwrap_or_default());
    line_diff(&text(old), &text(new))
}

/// What an update through `ephemeralcontainers` may do: add.
pub fn ephemeral_update(new: &Pod, old: &Pod, errors: &mut Errors) {
    if is_mirror(old) {
        return refuse("static pods do not support ephemeral containers", errors);
    }
    let at = Path::new("spec.ephemeralContainers");
    let list = |pod: &Pod| pod.spec.as_ref().and_then(|s| s.ephemeral_containers.clone()).unwrap_or_default();
    let (now, before) = (list(new), list(old));
    let now: HashMap<&str, _> = now.iter().rev().map(|c| (c.name.as_str(), c)).collect();
    for was in &before {
        match now.get(was.name.as_str()).copied() {
            None => {
                errors.forbidden(
                    &at,
                    format!("existing ephemeral containers {:?} may not be removed\n", was.name),
                );
            }
            Some(is) if is != was => {
                errors.forbidden(
                    &at,
                    format!("existing ephemeral containers {:?} may not be changed\n", was.name),
                );
            }
            Some(_) => {}
        }
    }
}
