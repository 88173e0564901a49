//! Who belongs to whom: a selector says what an owner wants, an owner reference what it has. An owner takes in what
//! it selects and nobody has, and lets go what it has and no longer selects. Upstream: `controller_ref_manager.go`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::{Metadata, Resource};
use serde::Serialize;

use super::{owners, selector};
use crate::frame::{Action, Kind};

/// Somebody with a selector. An empty one selects nothing.
#[derive(Clone, Debug)]
pub struct Owner<'a> {
    /// Its kind.
    pub kind: Kind,
    /// Its metadata.
    pub meta: &'a ObjectMeta,
    /// What it wants.
    pub selector: &'a LabelSelector,
}

/// What an object is to an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Its own.
    Keep,
    /// To become its own.
    Adopt,
    /// No longer its own.
    Release,
    /// None of its business.
    Leave,
}

impl Claim {
    /// Whether the object is the owner's once all is done.
    pub fn is_ours(self) -> bool {
        matches!(self, Claim::Keep | Claim::Adopt)
    }
}

impl Owner<'_> {
    /// What an object with this metadata is to the owner. Only what is `adoptable` is taken in.
    pub fn claim(&self, dependent: &ObjectMeta, adoptable: bool) -> Claim {
        let going = self.meta.deletion_timestamp.is_some();
        match owners::controller_of(dependent) {
            Some(owner) if owner.uid != owners::uid(self.meta) => Claim::Leave,
            Some(_) if self.wants(dependent) => Claim::Keep,
            Some(_) if going => Claim::Leave,
            Some(_) => Claim::Release,
            None if going || !adoptable || dependent.deletion_timestamp.is_some() => Claim::Leave,
            None if self.wants(dependent) => Claim::Adopt,
            None => Claim::Leave,
        }
    }

    fn wants(&self, dependent: &ObjectMeta) -> bool {
        selector::wants(self.selector, dependent.labels.as_ref())
    }

    /// What makes the claim true.
    pub fn settle<D>(&self, dependent: &D, claim: Claim) -> Option<Action>
    where
        D: Resource + Metadata<Ty = ObjectMeta> + Serialize + Clone,
    {
        Action::change(dependent, &self.settled(dependent, claim)?, None)
    }

    /// The object as it is when the claim is true; `None` when it is so already.
    pub fn settled<D: Metadata<Ty = ObjectMeta> + Clone>(&self, dependent: &D, claim: Claim) -> Option<D> {
        // Most are as they should be: they are not copied to find that out.
        if matches!(claim, Claim::Keep | Claim::Leave) {
            return None;
        }
        let mut claimed = dependent.clone();
        let references = claimed.metadata_mut().owner_references.get_or_insert_default();
        match claim {
            Claim::Adopt => references.push(owners::controller_ref(&self.kind, self.meta)),
            _ => references.retain(|owner| owner.uid != owners::uid(self.meta)),
        }
        Some(claimed)
    }
}

#[cfg(test)]
mod tests;
