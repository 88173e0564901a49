//! What the garbage collector writes, who needs no right to what an object grants. Counterpart of upstream's
//! `pkg/api/util.IsOnlyMutatingGCFields`.

use api::object::ObjectExt as _;
use serde_json::Value;

/// Whether nothing changes but what garbage collection needs changed.
pub fn changes_only_for_collection(old: &Value, new: &Value) -> bool {
    let rest = |object: &Value| {
        let mut rest = object.clone();
        let metadata = rest.metadata_mut();
        for field in ["ownerReferences", "finalizers", "managedFields", "selfLink"] {
            metadata.remove(field);
        }
        rest
    };
    rest(old) == rest(new)
}
