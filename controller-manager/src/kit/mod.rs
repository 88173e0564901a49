//! What controllers of workloads have in common, each piece once: whom a selector claims, which owner a change
//! concerns, pods from templates, revisions of templates, which pod goes first. Pure but for `follow`, which maps
//! changes to keys. Upstream: `pkg/controller/controller_utils.go`, `controller_ref_manager.go`, `history`.

pub mod claim;
pub mod deletion_order;
pub mod follow;
pub mod owners;
pub mod pods;
pub mod revisions;
pub mod selector;
pub mod shares;
pub mod template_hash;

/// A number of objects as statuses have it.
pub fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
