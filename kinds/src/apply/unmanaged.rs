//! What nobody comes to manage.

use super::{Options, set::Set};

/// Nobody manages what identifies the object or is the system's.
pub(super) fn strip(set: &mut Set) {
    const SYSTEM: [&str; 8] = [
        "f:name",
        "f:namespace",
        "f:creationTimestamp",
        "f:selfLink",
        "f:uid",
        "f:generation",
        "f:managedFields",
        "f:resourceVersion",
    ];
    set.remove(&["f:apiVersion"]);
    set.remove(&["f:kind"]);
    set.remove(&["f:metadata"]);
    for field in SYSTEM {
        set.remove(&["f:metadata", field]);
    }
}

/// Nobody manages through one part of an object what belongs to another part.
pub(super) fn drop_reset(set: &mut Set, options: &Options<'_>) {
    match options.subresource {
        "" => set.remove_below(&["f:status"]),
        "status" => {
            set.keep_below(&["f:status", "f:metadata"]);
            for field in options.status_leaves {
                set.remove_below(&["f:metadata", &format!("f:{field}")]);
            }
        }
        _ => {}
    }
}
