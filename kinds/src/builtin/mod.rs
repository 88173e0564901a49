//! The built-in kinds: one file each with its rules, one row each in the table.

pub mod admission_registration;
pub mod api_service;
pub mod cells;
mod certificate_signing_request;
mod cluster_trust_bundle;
mod component_status;
mod config_map;
mod controller_revision;
mod cron_job;
mod csi_driver;
mod csi_node;
mod csi_storage_capacity;
pub mod custom_resource_definition;
mod daemon_set;
mod defaults;
mod deployment;
mod difference;
mod endpoint_slice;
mod endpoints;
mod event;
pub mod flow_control;
mod horizontal_pod_autoscaler;
mod ingress;
mod ingress_class;
mod ip_address;
mod job;
mod lease;
mod limit_range;
mod load_balancer;
mod namespace;
mod network_policy;
mod node;
mod persistent_volume;
mod persistent_volume_claim;
pub mod pod;
mod pod_disruption_budget;
mod pod_template;
mod prelude;
pub mod priority_class;
mod rbac;
mod replica_set;
mod replication_controller;
mod resource;
mod resource_quota;
mod review;
mod row;
mod runtime_class;
mod secret;
pub mod service;
mod service_account;
mod service_cidr;
mod stateful_set;
mod storage_class;
mod table;
#[cfg(test)]
#[path = "tests/testing.rs"]
mod testing;
mod volume_attachment;
mod volume_attributes_class;
mod workload;

use std::sync::LazyLock;

use schemars::SchemaGenerator;

use crate::schema::Types;
pub use table::all;

impl Types {
    /// The types of all built-in kinds.
    pub fn builtin() -> &'static Self {
        static BUILTIN: LazyLock<Types> = LazyLock::new(|| {
            let kinds = all();
            Types::of(kinds.iter().map(|kind| {
                let schema = |generator: &mut SchemaGenerator| kind.rules.schema(generator);
                ([&*kind.group, &*kind.version, &*kind.kind], schema)
            }))
        });
        &BUILTIN
    }
}

/// What clients may write of the metadata.
pub(crate) const METADATA: &[&str] = &["labels", "annotations", "finalizers", "ownerReferences"];

#[cfg(test)]
mod tests;
