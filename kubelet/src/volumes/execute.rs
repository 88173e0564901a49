//! Carries out what the plan says on the node's disk.

use api::Message;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use machinery::beneath::{self, Handle};
use parking_lot::Mutex;

use super::nested::{self, MountPoints};
use super::ownership::Group;
use super::payload::Files;
use super::plan::{self, Step};
use super::record::{Kept, Record};
use super::source::{Source, Volume};
use super::{Refused, VolumeError, Wanted, atomic_writer, disk, host_path, local, make_private, nfs};
use crate::pod_spec;
use crate::runtime_config::names::{self, SUB_PATHS, VOLUMES};

/// All that the volumes of a pod are made from.
pub(super) struct Work {
    /// The kubelet's folder.
    pub(super) root: PathBuf,
    pub(super) pod: Arc<Pod>,
    pub(super) wanted: Vec<Wanted>,
    /// The files of those that follow the API, by name.
    pub(super) files: BTreeMap<String, Files>,
    /// Whether this kubelet has not looked yet what is mounted.
    pub(super) first: bool,
    pub(super) turns: Arc<Turns>,
}

/// Held from the question whether another pod has a volume until the record says that this one has it, by place.
pub(super) type Turns = Mutex<HashMap<PathBuf, Arc<Mutex<()>>>>;

impl Work {
    /// Brings the pod's volumes to where they are wanted, each as if it were the only one.
    pub(super) fn carry_out(&self) -> Result<(), Vec<VolumeError>> {
        let mut failed = Vec::new();
        if let Err(error) = self.take_all(&mut failed) {
            failed.push(error);
        }
        if failed.is_empty() { Ok(()) } else { Err(failed) }
    }

    fn take_all(&self, failed: &mut Vec<VolumeError>) -> Result<(), VolumeError> {
        let (steps, mut record) = self.begin()?;
        let points = nested::mount_points(&self.pod);
        // What could not be taken away, before it is to be made anew.
        let mut stuck = None;
        for step in &steps {
            if let Step::Mount(volume) = step
                && stuck == Some(volume)
            {
                continue;
            }
            let turn = self.turn(step);
            let _held = turn.as_ref().map(|turn| turn.lock());
            let done = self.take(step, &points);
            let is_done = done.is_ok();
            failed.extend(done.err());
            match step {
                Step::Mount(volume) => {
                    if let Some(kept) = record.volumes.get_mut(&volume.place()) {
                        kept.ready = is_done;
                    }
                }
                Step::Unmount(volume) if !is_done => stuck = Some(volume),
                _ => {}
            }
            if !is_done || turn.is_some() {
                record.write(&self.pod_dir())?;
            }
        }
        if mounts_something(&steps) {
            record.write(&self.pod_dir())?;
        }
        Ok(())
    }

    /// What is to be held for a step that other pods of the node may stand in the way of.
    fn turn(&self, step: &Step) -> Option<Arc<Mutex<()>>> {
        let Step::Mount(volume) = step else { return None };
        let is_local = matches!(volume.source, Source::Local { .. });
        let alone = self.wanted.iter().any(|wanted| wanted.volume == *volume && wanted.alone);
        if !(alone || is_local) {
            return None;
        }
        let mut turns = self.turns.lock();
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        Some(Arc::clone(turns.entry(volume.place()).or_default()))
    }

    /// Looks what there is and what is to be done; what is to be mounted stands in the record from here on.
    fn begin(&self) -> Result<(Vec<Step>, Record), VolumeError> {
        let pod_dir = self.pod_dir();
        make_private(&pod_dir)?;
        let standing = self.first.then(|| standing(&pod_dir.join(VOLUMES))).transpose()?;
        let mut record = Record::read(&pod_dir)?.unwrap_or_default();
        let wanted: Vec<Volume> = self.wanted.iter().map(|wanted| wanted.volume.clone()).collect();
        let steps = plan::keep(&record, &wanted, standing.as_ref());
        record.namespace = pod_spec::namespace(&self.pod).to_owned();
        record.name = pod_spec::name(&self.pod).to_owned();
        let mounts = steps.iter().filter_map(|step| match step {
            Step::Mount(volume) => Some((volume.place(), Kept { volume: volume.clone(), ready: false })),
            _ => None,
        });
        record.volumes.extend(mounts);
        if mounts_something(&steps) {
            record.write(&pod_dir)?;
        }
        Ok((steps, record))
    }

    fn pod_dir(&self) -> PathBuf {
        names::pod_dir(&self.root, pod_spec::uid(&self.pod))
    }

    fn take(&self, step: &Step, points: &MountPoints) -> Result<(), VolumeError> {
        let volumes = &self.pod_dir().join(VOLUMES);
        let (volume, taken) = match step {
            Step::Mount(volume) => (volume, self.mount(volume, volumes, points)),
            Step::Refresh(volume) => (volume, self.write(volume, volumes, points)),
            Step::Unmount(volume) => return unmount(volume, volumes),
        };
        let named = self.wanted.iter().filter(|wanted| wanted.volume == *volume);
        taken.map_err(|Refused { step, message }| VolumeError::Mount {
            step,
            volume: volume.name.clone(),
            message,
            names: named.map(|wanted| wanted.name.clone()).collect(),
        })
    }

    fn mount(&self, volume: &Volume, volumes: &Path, points: &MountPoints) -> Result<(), Refused> {
        let dir = volume.path(volumes);
        let owner = Group::of(&self.pod, false);
        match &volume.source {
            Source::HostPath { path, kind } => host_path::check(path, kind)?,
            Source::EmptyDir => disk::empty_dir(&dir, None, owner)?,
            Source::Memory { size } => disk::empty_dir(&dir, Some(*size), owner)?,
            Source::Files(_) => {
                disk::empty_dir(&dir, volume.source.is_mounted().then_some(None), owner)?;
                self.write(volume, volumes, points)?;
            }
            Source::Local { path } => {
                let give = self.give(volume, owner)?;
                local::mount(&self.root, path, &dir, give)?;
            }
            Source::Nfs { server, path, read_only, options } => {
                self.give(volume, None)?;
                nfs::mount_at(&dir, server, path, options, *read_only)?;
            }
            Source::Csi { driver } => {
                return Err(Refused {
                    step: "MountDevice failed",
                    message: format!(
                        "kubernetes.io/csi: attacher.MountDevice failed to create newCsiDriverClient: \
                         driver name {driver} not found in the list of registered CSI drivers"
                    ),
                });
            }
        }
        Ok(())
    }

    /// Brings the files of a volume up to date.
    fn write(&self, volume: &Volume, volumes: &Path, points: &MountPoints) -> Result<(), Refused> {
        let dir = volume.path(volumes);
        let points = points.get(&volume.name).cloned().unwrap_or_else(|| Ok(Vec::new()))?;
        nested::make(&dir, &points)?;
        let Some(files) = self.files.get(&volume.name) else { return Ok(()) };
        Ok(atomic_writer::write(&dir, files, Group::of(&self.pod, true))?)
    }

    /// To whom a PersistentVolume is to be given, in sight of the other pods that have it.
    ///
    /// # Errors
    /// When it is for one pod alone, and another one has it.
    fn give(&self, volume: &Volume, group: Option<Group>) -> Result<Option<local::Give>, Refused> {
        let wanted = self.wanted.iter().find(|wanted| wanted.volume == *volume);
        let Some(wanted) = wanted.filter(|wanted| wanted.alone || group.is_some()) else { return Ok(None) };
        let is_used = self.is_used(volume)?;
        if is_used && wanted.alone {
            let words = "volume uses the ReadWriteOncePod access mode and is already in use by another pod";
            return Err(Message::from(words).into());
        }
        let context = pod_spec::spec(&self.pod).security_context.as_ref();
        let policy = context.and_then(|context| context.fs_group_change_policy.as_deref());
        let unless_seen = policy == Some("OnRootMismatch");
        let give = |group| local::Give { group, unless_seen, is_used };
        Ok(group.filter(|_| !wanted.read_only).map(give))
    }

    /// Whether another pod of the node has a volume.
    fn is_used(&self, volume: &Volume) -> io::Result<bool> {
        let place = volume.place();
        for uid in beneath::names_in(&names::pods(&self.root))? {
            if uid != pod_spec::uid(&self.pod)
                && let Some(record) = Record::read(&names::pod_dir(&self.root, &uid))?
                && record.volumes.get(&place).is_some_and(|kept| kept.ready)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn mounts_something(steps: &[Step]) -> bool {
    steps.iter().any(|step| matches!(step, Step::Mount(_)))
}

/// The places in a folder of volumes where something is mounted.
fn standing(volumes: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let volumes = match Handle::open(volumes) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        // The kernel names mounts by where they are, whatever links lead there.
        held => held?.path()?,
    };
    let place = |path: &PathBuf| path.strip_prefix(&volumes).map(Path::to_owned).ok();
    Ok(disk::mounted_below(&volumes)?.iter().filter_map(place).collect())
}

fn unmount(volume: &Volume, volumes: &Path) -> Result<(), VolumeError> {
    let path = volumes.join(volume.place());
    let unmounted = match volume.source.outlives_pod() {
        true => disk::unmount(&path),
        false => disk::detach(&path),
    };
    let failed =
        |error: io::Error| VolumeError::Unmount { volume: volume.name.clone(), message: error.to_string() };
    unmounted.map_err(failed)
}

/// Takes away all volumes of a pod. Nothing is deleted as long as anything is mounted.
pub(super) fn clear(pod_dir: &Path) -> Result<(), VolumeError> {
    let held = match Handle::open(pod_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        held => held?,
    };
    let dir = held.path()?;
    disk::detach_sub_paths(&dir)?;
    let record = Record::read(&dir)?.unwrap_or_default();
    for step in plan::clear(&record) {
        if let Step::Unmount(volume) = step {
            unmount(&volume, &dir.join(VOLUMES))?;
        }
    }
    // What containers mounted in their volumes, or what stands in no record; what is mounted inside of it goes along.
    for path in disk::mounted_below(&dir)? {
        disk::detach(&path)?;
    }
    if let Some(path) = disk::mounted_below(&dir)?.first() {
        return Err(io::Error::other(format!("{} is still mounted", path.display())).into());
    }
    for name in [SUB_PATHS, VOLUMES] {
        held.remove(name)?;
    }
    Ok(Record::remove(&dir)?)
}

#[cfg(test)]
mod tests;
