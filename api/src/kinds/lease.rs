//! Lease: who leads, and who is alive.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use serde_json::Value;

use crate::{
    kind::{Column, Strategy, cell},
    object::ObjectExt,
};

/// The rules of leases.
pub struct Leases;

impl Strategy for Leases {
    type Object = Lease;

    fn default(&self, lease: &mut Lease) {
        lease.spec.get_or_insert_default();
    }

    fn columns(&self) -> Vec<Column> {
        vec![Column::name(), Column::new("Holder", "string", "Who holds the lease."), Column::age()]
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![cell::name(object), object.str_at(&["spec", "holderIdentity"]).into(), cell::age(object, now)]
    }
}
