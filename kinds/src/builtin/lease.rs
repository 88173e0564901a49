//! Lease: who leads, and who is alive.

use api::{
    field::{Errors, Path},
    object::ObjectExt,
    validation::not_negative,
};
use k8s_openapi::api::coordination::v1::Lease;

use crate::kind::{Column, Strategy};

/// The rules of leases.
pub struct Leases;

impl Strategy for Leases {
    type Object = Lease;

    const UNCONDITIONAL_UPDATE: bool = false;
    const CREATES_ON_UPDATE: bool = true;

    fn takes_plain_finalizers(&self) -> bool {
        true
    }

    fn default(&self, lease: &mut Lease) {
        lease.spec.get_or_insert_default();
    }

    fn validate(&self, lease: &Lease, errors: &mut Errors) {
        let Some(spec) = &lease.spec else { return };
        let at = Path::new("spec");
        if let Some(seconds) = spec.lease_duration_seconds.filter(|s| *s <= 0) {
            errors.invalid(&at.child("leaseDurationSeconds"), seconds, "must be greater than 0");
        }
        not_negative(spec.lease_transitions, &at.child("leaseTransitions"), errors);
        if spec.preferred_holder.as_deref().is_some_and(|h| !h.is_empty()) && spec.strategy.is_none() {
            let why = "may only be specified when `strategy` is defined";
            errors.forbidden(&at.child("preferredHolder"), why);
        }
    }

    fn columns(&self) -> Vec<Column> {
        let holder = Column::text("Holder", "Who holds the lease.", |lease| {
            lease.str_at(&["spec", "holderIdentity"]).into()
        });
        vec![Column::name(), holder, Column::age()]
    }
}
