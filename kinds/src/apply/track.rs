//! Ordinary writes: whoever makes one owns what it changed.

use api::object::ObjectExt as _;
use serde_json::Value;

use super::{
    Options,
    changes::Changes,
    managers::{Managers, Operation, set_managed},
};
use crate::kind::version::Versions;

/// Records in `new` who manages what after an ordinary create (`old` is `None`) or update.
pub fn track_update(
    versions: Versions<'_>,
    old: Option<&Value>,
    mut new: Value,
    options: &Options<'_>,
) -> Value {
    let (managed, is_sent) = managed_before(old, &mut new, options);
    if old.is_some() && managed.as_array().is_none_or(Vec::is_empty) {
        return new;
    }
    let mut changes = Changes::new(versions, old, &new, options);
    if changes.is_empty() && !is_sent {
        set_managed(&mut new, managed);
        return new;
    }
    let mut managers = Managers::decode(&managed).unwrap_or_default();
    managers.retain(|other| {
        let Some((changed, removed)) = changes.at(&other.api_version) else { return false };
        other.fields.subtract(changed);
        other.fields.subtract(removed);
        true
    });
    let changed = changes.changed;
    if !changed.is_empty() {
        let me = managers.entry(options.manager(Operation::Update));
        me.fields.union(changed);
        options.stamp(me);
    }
    managers.drop_empty();
    managers.cap_updaters();
    set_managed(&mut new, managers.encode());
    new
}

/// Who managed what before the write: what the sent object says, if it says something else that makes sense, else what
/// the present one does; and whether the sent one says so. The sent object's `managedFields` are taken out.
fn managed_before(old: Option<&Value>, new: &mut Value, options: &Options<'_>) -> (Value, bool) {
    let sent =
        new.as_object_mut().and_then(|o| o.get_mut("metadata")?.as_object_mut()?.remove("managedFields"));
    let live = old.and_then(|o| o.metadata()?.get("managedFields"));
    let is_reset = |sent: &Value| {
        sent.as_array().is_some_and(|entries| match entries.as_slice() {
            [] => true,
            [Value::Object(entry)] => entry.is_empty(),
            _ => false,
        })
    };
    match sent.filter(|sent| options.subresource.is_empty() && live != Some(sent)) {
        Some(sent) if is_reset(&sent) => (Value::Null, false),
        // A client that does not know managedFields does not lose them.
        Some(sent) if Managers::decode(&sent).is_some_and(|managers| !managers.is_empty()) => (sent, true),
        _ => (live.cloned().unwrap_or(Value::Null), false),
    }
}
