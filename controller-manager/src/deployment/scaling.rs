//! Sizes of the ReplicaSets during a roll-out, and when the Deployment itself
//! is resized in the middle of one (then in proportion). Upstream:
//! `deployment/rolling.go`, `sync.go: scale`, `util: GetReplicaSetFraction`.

use std::cmp::Reverse;

use super::plan::{Draft, available, existing, is_recreate, size, wanted};
use super::revisions;
use crate::kit::owners;

/// How many pods the newest set may have now.
pub fn size_of_new(draft: &Draft) -> i64 {
    let wanted = wanted(draft.spec);
    if is_recreate(draft.spec) {
        return wanted;
    }
    let now = draft.new_set().map_or(0, size);
    let room = wanted + draft.bounds.surge - draft.total();
    if room <= 0 { now } else { now + room.min(wanted - now) }
}

/// Sizes the newest set; says whether that changed it.
pub fn roll_new(draft: &mut Draft) -> bool {
    let (Some(newest), wanted) = (draft.newest, wanted(draft.spec)) else { return false };
    let now = size(&draft.sets[newest]);
    let to = if now >= wanted { wanted } else { size_of_new(draft) };
    to != now && draft.scale(newest, to)
}

/// Takes pods from old sets as far as availability allows: broken ones first.
pub fn roll_old(draft: &mut Draft) {
    let old = draft.old();
    if old.iter().all(|index| size(&draft.sets[*index]) == 0) {
        return;
    }
    let least = wanted(draft.spec) - draft.bounds.unavailable;
    let new_unavailable = draft.new_set().map_or(0, |set| size(set) - available(set));
    let may_go = draft.total() - least - new_unavailable;
    if may_go <= 0 {
        return;
    }
    let mut gone = 0;
    for &index in &old {
        let set = &draft.sets[index];
        let broken = size(set) - available(set);
        if broken > 0 && gone < may_go {
            let count = broken.min(may_go - gone);
            draft.scale(index, size(set) - count);
            gone += count;
        }
    }
    let mut spare = draft.sets.iter().map(available).sum::<i64>() - least;
    for &index in &old {
        let count = size(&draft.sets[index]).min(spare);
        if count > 0 {
            draft.scale(index, size(&draft.sets[index]) - count);
            spare -= count;
        }
    }
}

/// Empties all old sets; says whether there was anything to empty.
pub fn retire_all_old(draft: &mut Draft) -> bool {
    let mut changed = false;
    for index in draft.old() {
        if size(&draft.sets[index]) > 0 {
            changed |= draft.scale(index, 0);
        }
    }
    changed
}

/// Whether the Deployment was resized since a set in use was last sized.
pub fn is_pending(draft: &Draft) -> bool {
    let wanted = wanted(draft.spec);
    draft.sets.iter().filter(|set| size(set) > 0).any(|set| {
        revisions::number::<i64>(&set.metadata, revisions::DESIRED).is_some_and(|desired| desired != wanted)
    })
}

/// Brings a resize of the Deployment to its sets.
pub fn scale(draft: &mut Draft) {
    let wanted = wanted(draft.spec);
    let active: Vec<usize> = (0..draft.sets.len()).filter(|index| size(&draft.sets[*index]) > 0).collect();
    let only = match active.as_slice() {
        [] => draft.newest.or_else(|| draft.old().last().copied()),
        [one] => Some(*one),
        _ => None,
    };
    if let Some(only) = only {
        if size(&draft.sets[only]) != wanted || !active.is_empty() {
            draft.scale(only, wanted);
        }
    } else if draft.new_set().is_some_and(|set| is_saturated(set, wanted)) {
        retire_all_old(draft);
    } else if !is_recreate(draft.spec) {
        scale_in_proportion(draft, active);
    }
}

fn is_saturated(set: &k8s_openapi::api::apps::v1::ReplicaSet, wanted: i64) -> bool {
    let desired: Option<i64> = revisions::number(&set.metadata, revisions::DESIRED);
    size(set) == wanted && desired == Some(wanted) && available(set) == wanted
}

fn scale_in_proportion(draft: &mut Draft, mut active: Vec<usize>) {
    let wanted = wanted(draft.spec);
    let allowed = if wanted > 0 { wanted + draft.bounds.surge } else { 0 };
    let to_add = allowed - active.iter().map(|index| size(&draft.sets[*index])).sum::<i64>();
    let created = |index: &usize| {
        let meta = &draft.sets[*index].metadata;
        (meta.creation_timestamp.clone(), owners::name(meta).to_owned())
    };
    if to_add >= 0 {
        active.sort_by_key(|index| (Reverse(size(&draft.sets[*index])), Reverse(created(index))));
    } else {
        active.sort_by_key(|index| (Reverse(size(&draft.sets[*index])), created(index)));
    }
    let mut added = 0;
    let mut sizes = Vec::with_capacity(active.len());
    for &index in &active {
        let share = proportion(draft, index, to_add, added);
        sizes.push(size(&draft.sets[index]) + share);
        added += share;
    }
    if let Some(first) = sizes.first_mut().filter(|_| to_add != 0) {
        *first = (*first + to_add - added).max(0);
    }
    for (index, to) in active.into_iter().zip(sizes) {
        draft.scale(index, to);
    }
}

fn proportion(draft: &Draft, index: usize, to_add: i64, added: i64) -> i64 {
    if size(&draft.sets[index]) == 0 || to_add == 0 || to_add == added {
        return 0;
    }
    let (share, left) = (fraction(draft, index), to_add - added);
    if to_add > 0 { share.min(left) } else { share.max(left) }
}

/// By how much a set has to grow to keep its part of the whole.
fn fraction(draft: &Draft, index: usize) -> i64 {
    let (set, wanted) = (&draft.sets[index], wanted(draft.spec));
    if wanted == 0 {
        return -size(set);
    }
    let before =
        revisions::number::<i64>(&set.metadata, revisions::MAX).filter(|max| *max > 0).unwrap_or_else(|| {
            let status = draft.deployment.status.as_ref();
            status.and_then(|status| status.replicas).map_or_else(|| existing(set), i64::from)
        });
    if before == 0 {
        return 0;
    }
    let (now, before) = (i128::from(size(set)), i128::from(before));
    let grown = (now * i128::from(wanted + draft.bounds.surge) + before / 2) / before;
    i64::try_from(grown).unwrap_or(i64::MAX).saturating_sub(size(set))
}
