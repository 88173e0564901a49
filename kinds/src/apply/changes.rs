//! What a write changes in an object, as each version of its resource names it.

use std::collections::HashMap;

use serde_json::Value;

use super::{
    Options,
    compare::{Comparison, compare},
    set::Set,
    skeleton,
    unmanaged::drop_reset,
};
use crate::{
    kind::version::Versions,
    schema::{TypeRef, Types},
};

/// The fields that a write changes and those that it removes.
pub(super) struct Changes<'a> {
    versions: Versions<'a>,
    old: Option<&'a Value>,
    new: &'a Value,
    options: &'a Options<'a>,
    /// In the version that is written.
    pub(super) changed: Set,
    removed: Set,
    /// Other versions that were asked about; `None` for those that are not served.
    others: HashMap<String, Option<(Set, Set)>>,
}

impl<'a> Changes<'a> {
    /// What makes `new` of `old`, or of nothing.
    pub(super) fn new(
        versions: Versions<'a>,
        old: Option<&'a Value>,
        new: &'a Value,
        options: &'a Options<'a>,
    ) -> Self {
        let Versions { types, root, .. } = versions;
        let (changed, removed) = match old {
            Some(old) => between(types, root, old, new, options),
            None => between(types, root, &skeleton::of(types, root), new, options),
        };
        Self { versions, old, new, options, changed, removed, others: HashMap::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.removed.is_empty()
    }

    /// The fields changed and removed in a version; `None` when it is not served.
    pub(super) fn at(&mut self, version: &str) -> Option<(&Set, &Set)> {
        if version == self.options.api_version {
            return Some((&self.changed, &self.removed));
        }
        if !self.others.contains_key(version) {
            let found = self.compare_at(version);
            self.others.insert(version.to_owned(), found);
        }
        self.others.get(version)?.as_ref().map(|(changed, removed)| (changed, removed))
    }

    fn compare_at(&self, version: &str) -> Option<(Set, Set)> {
        let (types, root) = self.versions.object_type(version)?;
        let seen = |object| self.versions.convert(object, self.versions.own, version);
        let old = seen(self.old.unwrap_or(&Value::Null))?;
        Some(between(types, root, &old, seen(self.new)?.as_ref(), self.options))
    }
}

/// The fields that change and those that go between two states, as far as the write may touch them.
pub(super) fn between(
    types: &Types,
    root: TypeRef,
    old: &Value,
    new: &Value,
    options: &Options<'_>,
) -> (Set, Set) {
    let Comparison { added: mut changed, mut removed, modified } = compare(types, root, old, new);
    changed.union(modified);
    drop_reset(&mut changed, options);
    drop_reset(&mut removed, options);
    (changed, removed)
}
