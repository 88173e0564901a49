//! Lease: who leads, and who is alive.

use k8s_openapi::api::coordination::v1::Lease;

use crate::builtin::prelude::*;

impl Strategy for Lease {
    const FACTS: Facts = Facts {
        updates_unconditionally: false,
        creates_on_update: true,
        takes_plain_finalizers: true,
        ..Facts::PLAIN
    };

    fn fill_in(&mut self) {
        self.spec.get_or_insert_default();
    }

    fn validate(&self, errors: &mut Errors) {
        let Some(spec) = &self.spec else { return };
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

    fn columns() -> Vec<Column> {
        let holder = Column::field("Holder", "Who holds the lease.", &["spec", "holderIdentity"]);
        vec![Column::name(), holder, Column::age()]
    }
}
