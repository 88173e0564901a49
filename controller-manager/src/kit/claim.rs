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
        let mut claimed = dependent.clone();
        let references = claimed.metadata_mut().owner_references.get_or_insert_default();
        match claim {
            Claim::Adopt => references.push(owners::controller_ref(&self.kind, self.meta)),
            Claim::Release => references.retain(|owner| owner.uid != owners::uid(self.meta)),
            Claim::Keep | Claim::Leave => return None,
        }
        Action::change(dependent, &claimed, None)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::{Value, json};

    use super::*;

    fn meta(value: Value) -> ObjectMeta {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn owners_take_what_they_select_and_let_go_what_they_do_not() {
        let mine = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "u", "controller": true}]);
        let theirs = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "db", "uid": "v", "controller": true}]);
        let (web, db) = (json!({"app": "web"}), json!({"app": "db"}));
        let gone = json!("2026-01-01T00:00:00Z");
        let cases = [
            (json!({"labels": web, "ownerReferences": mine}), Claim::Keep, Claim::Keep),
            (json!({"labels": db, "ownerReferences": mine}), Claim::Release, Claim::Leave),
            (json!({"labels": web, "ownerReferences": theirs}), Claim::Leave, Claim::Leave),
            (json!({"labels": web}), Claim::Adopt, Claim::Leave),
            (json!({"labels": db}), Claim::Leave, Claim::Leave),
            (json!({"labels": web, "deletionTimestamp": gone}), Claim::Leave, Claim::Leave),
        ];
        let selector = serde_json::from_value(json!({"matchLabels": {"app": "web"}})).unwrap();
        let (stays, goes) = (
            meta(json!({"name": "web", "uid": "u"})),
            meta(json!({"name": "web", "uid": "u", "deletionTimestamp": gone})),
        );
        for (dependent, when_it_stays, when_it_goes) in cases {
            for (owner, expected) in [(&stays, when_it_stays), (&goes, when_it_goes)] {
                let owner = Owner { kind: Kind::of::<Pod>(), meta: owner, selector: &selector };
                assert_eq!(owner.claim(&meta(dependent.clone()), true), expected, "{dependent}");
            }
        }
        let owner = Owner { kind: Kind::of::<Pod>(), meta: &stays, selector: &selector };
        assert_eq!(owner.claim(&meta(json!({"labels": web})), false), Claim::Leave);
        let everything = LabelSelector::default();
        let owner = Owner { kind: Kind::of::<Pod>(), meta: &stays, selector: &everything };
        assert_eq!(owner.claim(&meta(json!({"labels": web})), true), Claim::Leave, "empty selects nothing");
    }
}
