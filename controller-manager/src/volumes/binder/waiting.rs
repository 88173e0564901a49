//! The claims that looked for a volume and found none, by class and size.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use api::quantity::Quantity;
use api::volume_binding::{class_of_claim, class_of_volume, fits, size_of_claim, size_of_volume};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};

use crate::frame::Key;

/// How many claims that a volume does not fit are passed over before it is left to them to look.
const PATIENCE: usize = 64;

/// Where a claim stands among those of its class: the largest first.
type Place = (Reverse<Quantity>, Key);

/// Claims of one class.
type Claims = BTreeMap<Place, Arc<PersistentVolumeClaim>>;

#[derive(Default)]
pub struct Waiting {
    of_class: BTreeMap<String, Claims>,
}

impl Waiting {
    /// Remembers a claim.
    pub fn insert(&mut self, claim: &Arc<PersistentVolumeClaim>) {
        let claims = self.of_class.entry(class_of_claim(claim).to_owned()).or_default();
        claims.insert(place(claim), Arc::clone(claim));
    }

    /// Forgets a claim, as it was when it was put in.
    pub fn remove(&mut self, claim: &PersistentVolumeClaim) {
        self.take(class_of_claim(claim), &place(claim));
    }

    /// The largest claim that fits a free volume; it is forgotten here and has to look again.
    pub fn take_for(&mut self, volume: &PersistentVolume) -> Option<Key> {
        let class = class_of_volume(volume);
        let from = (Reverse(size_of_volume(volume)), Key::new("", ""));
        let mut small_enough = self.of_class.get(class)?.range(from..).take(PATIENCE);
        let place = small_enough.find(|(_, claim)| fits(volume, claim))?.0.clone();
        self.take(class, &place);
        Some(place.1)
    }

    fn take(&mut self, class: &str, place: &Place) {
        if let Some(claims) = self.of_class.get_mut(class) {
            claims.remove(place);
            if claims.is_empty() {
                self.of_class.remove(class);
            }
        }
    }
}

fn place(claim: &PersistentVolumeClaim) -> Place {
    (Reverse(size_of_claim(claim)), Key::of(&claim.metadata))
}
