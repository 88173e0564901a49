//! The volumes that there are, found by what a claim asks for without a walk over all of them.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Bound;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};

use super::{
    Shelf, claim_ref, fits_labels, is_bound_to, is_free, is_reachable, size_of_claim, size_of_volume,
};
use crate::quantity::Quantity;

/// A volume's place on its shelf: the smallest first, those of one size in an order that has nothing to do with names.
type Place = (Quantity, u64, String);

/// Volumes by what a claim asks for.
///
/// Invariant: those on the shelves are Available, named by no claim and not about to be deleted; those that name a
/// claim are kept beside, by its name.
#[derive(Debug, Default)]
pub struct VolumeIndex {
    shelves: BTreeMap<Shelf, BTreeMap<Place, Arc<PersistentVolume>>>,
    claimed: BTreeMap<(String, String), BTreeMap<Place, Arc<PersistentVolume>>>,
}

/// For whom a volume is sought.
#[derive(Clone, Copy)]
pub enum Seeker<'a> {
    /// The controller that binds claims; it leaves free volumes to the scheduler when the claim waits for a consumer.
    Binder {
        /// Whether the claim waits for its first consumer.
        waits: bool,
    },
    /// The scheduler, for one node.
    Scheduler {
        /// The node's labels.
        labels: &'a BTreeMap<String, String>,
        /// Whether a volume is spoken for, by another claim of the pod or by a binding that is under way.
        is_taken: &'a dyn Fn(&str) -> bool,
    },
}

impl Seeker<'_> {
    fn accepts(self, volume: &PersistentVolume) -> bool {
        match self {
            Self::Binder { .. } => true,
            Self::Scheduler { labels, .. } => is_reachable(volume, labels),
        }
    }

    fn skips(self, volume: &PersistentVolume) -> bool {
        match self {
            Self::Binder { .. } => false,
            Self::Scheduler { is_taken, .. } => is_taken(volume.metadata.name.as_deref().unwrap_or_default()),
        }
    }
}

impl VolumeIndex {
    /// Puts a volume in. One of this name that was there before has to be taken out first.
    pub fn insert(&mut self, volume: &Arc<PersistentVolume>) {
        let place = place(volume);
        if let Some(claim) = claim_of(volume) {
            self.claimed.entry(claim).or_default().insert(place, Arc::clone(volume));
        } else if is_free(volume) {
            self.shelves.entry(Shelf::of_volume(volume)).or_default().insert(place, Arc::clone(volume));
        }
    }

    /// Takes out a volume, as it was when it was put in.
    pub fn remove(&mut self, volume: &PersistentVolume) {
        let place = place(volume);
        match claim_of(volume) {
            Some(claim) => take(&mut self.claimed, &claim, &place),
            None => take(&mut self.shelves, &Shelf::of_volume(volume), &place),
        }
    }

    /// The volume for a claim that names none: one that is kept for it, or else the smallest free one that fits.
    pub fn find(&self, claim: &PersistentVolumeClaim, seeker: Seeker<'_>) -> Option<Arc<PersistentVolume>> {
        let wanted = Shelf::of_claim(claim);
        let size = size_of_claim(claim);
        let kept = self.naming(claim).find(|volume| {
            is_bound_to(volume, claim)
                && size_of_volume(volume) >= size
                && volume.metadata.deletion_timestamp.is_none()
                && Shelf::of_volume(volume).is_of_the_sort(&wanted)
                && !seeker.skips(volume)
        });
        if let Some(kept) = kept {
            // One that is kept for the claim on another node rules this node out.
            return seeker.accepts(kept).then(|| Arc::clone(kept));
        }
        let shelves = self.shelves_for(&wanted);
        match seeker {
            Seeker::Binder { waits: true } => None,
            Seeker::Binder { waits: false } => {
                // The fewest modes first: nobody gets more than they asked for while there is less.
                let mut shelves: Vec<_> = shelves.collect();
                shelves.sort_by_key(|(shelf, _)| shelf.modes.len());
                shelves.iter().find_map(|(_, volumes)| smallest(volumes, claim, size, seeker)).cloned()
            }
            Seeker::Scheduler { .. } => shelves
                .filter_map(|(_, volumes)| smallest(volumes, claim, size, seeker))
                .min_by_key(|volume| size_of_volume(volume))
                .cloned(),
        }
    }

    /// The volumes that name a claim, be it this one or one of the same name before or after it.
    pub fn naming(&self, claim: &PersistentVolumeClaim) -> impl Iterator<Item = &Arc<PersistentVolume>> {
        let (namespace, name) = (claim.metadata.namespace.clone(), claim.metadata.name.clone());
        let key = (namespace.unwrap_or_default(), name.unwrap_or_default());
        self.claimed.get(&key).into_iter().flat_map(BTreeMap::values)
    }

    /// Shelves lie in the order of their classes, so that those of others are not looked at.
    fn shelves_for<'a>(
        &'a self,
        wanted: &'a Shelf,
    ) -> impl Iterator<Item = (&'a Shelf, &'a BTreeMap<Place, Arc<PersistentVolume>>)> {
        let first = Shelf { modes: super::AccessModes(0), ..wanted.clone() };
        let of_its_sort = move |shelf: &Shelf| {
            shelf.class == wanted.class && shelf.attributes == wanted.attributes && shelf.mode == wanted.mode
        };
        self.shelves
            .range(first..)
            .take_while(move |(shelf, _)| of_its_sort(shelf))
            .filter(move |(shelf, _)| shelf.suits(wanted))
    }
}

/// The smallest volume that is big enough, and of several of one size the one from which the claim's identity begins
/// the search: claims that are bound at the same time then do not all want the same volume.
fn smallest<'a>(
    volumes: &'a BTreeMap<Place, Arc<PersistentVolume>>,
    claim: &PersistentVolumeClaim,
    size: Quantity,
    seeker: Seeker<'_>,
) -> Option<&'a Arc<PersistentVolume>> {
    let fits = |volume: &&Arc<PersistentVolume>| {
        fits_labels(volume, claim) && !seeker.skips(volume) && seeker.accepts(volume)
    };
    let (&(found, ..), first) = volumes.range((size, 0, String::new())..).find(|(_, volume)| fits(volume))?;
    let begin = (found, mix(claim.metadata.uid.as_deref().unwrap_or_default()), String::new());
    let end = (found, u64::MAX, String::new());
    let spread = volumes.range((Bound::Included(begin), Bound::Included(end)));
    // Where only some of a size fit, looking through all of them again would not be worth it.
    Some(spread.take(SPREAD).map(|(_, volume)| volume).find(fits).unwrap_or(first))
}

/// How many volumes of one size are looked at for one that another claim does not look at first.
const SPREAD: usize = 16;

fn place(volume: &PersistentVolume) -> Place {
    let name = volume.metadata.name.clone().unwrap_or_default();
    (size_of_volume(volume), mix(&name), name)
}

fn mix(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

fn claim_of(volume: &PersistentVolume) -> Option<(String, String)> {
    let claim = claim_ref(volume)?;
    Some((claim.namespace.clone().unwrap_or_default(), claim.name.clone().unwrap_or_default()))
}

fn take<K: Ord>(from: &mut BTreeMap<K, BTreeMap<Place, Arc<PersistentVolume>>>, key: &K, place: &Place) {
    if let Some(volumes) = from.get_mut(key) {
        volumes.remove(place);
        if volumes.is_empty() {
            from.remove(key);
        }
    }
}
