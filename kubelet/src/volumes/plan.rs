//! What is to be done for the volumes of a pod, and in which order; pure.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::record::Record;
use super::source::Volume;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Take away what is mounted for a volume, and leave what is in it.
    Unmount(Volume),
    /// Make it ready for containers.
    Mount(Volume),
    /// Bring its files up to date.
    Refresh(Volume),
}

/// What it takes until a pod has all the volumes that it wants. `standing` are the places where something is
/// mounted; without them the record is believed, as by the kubelet that wrote it.
///
/// A volume that is ready belongs to the containers and stays as it is, unless its mount has gone with the machine.
/// Of one that a crash left half made, what holds other people's data is mounted anew.
pub(super) fn keep(record: &Record, wanted: &[Volume], standing: Option<&BTreeSet<PathBuf>>) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut seen = BTreeSet::new();
    for volume in wanted {
        let place = volume.place();
        let stands = |place: &Path| standing.is_some_and(|standing| standing.contains(place));
        let lost = standing.is_some() && volume.source.is_mounted() && !stands(&place);
        let is_ready = record.volumes.get(&place).is_some_and(|kept| kept.ready) && !lost;
        if is_ready && volume.source.follows() {
            steps.push(Step::Refresh(volume.clone()));
        } else if !is_ready && seen.insert(place.clone()) {
            if stands(&place) && volume.source.outlives_pod() {
                steps.push(Step::Unmount(volume.clone()));
            }
            steps.push(Step::Mount(volume.clone()));
        }
    }
    steps
}

/// What it takes until a pod has no volumes any more: the last in the record first.
pub(super) fn clear(record: &Record) -> Vec<Step> {
    record.volumes.values().rev().map(|kept| Step::Unmount(kept.volume.clone())).collect()
}

#[cfg(test)]
mod tests;
