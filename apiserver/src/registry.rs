//! The table of kinds at run time: the built-in ones, and custom ones that come and go; and the group versions that other
//! servers have.
//!
//! Readers take a snapshot ([`Table`]) and never see it change under them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use kinds::kind::{Kind, Rules, version::Conversion};
use parking_lot::RwLock;
use serde_json::Value;

use crate::{
    aggregation::Remote,
    args::RuntimeConfig,
    watch_cache::{Fields, FieldsFn, ReadFn, ResourceSpec},
};

/// One state of the table.
pub struct Table {
    kinds: Vec<Arc<Kind>>,
    by_resource: HashMap<(String, String, String), Arc<Kind>>,
    by_prefix: HashMap<String, Arc<[Arc<Kind>]>>,
    remotes: Remotes,
}

/// The group versions that other servers have, by their groups.
pub type Remotes = BTreeMap<String, Vec<Arc<Remote>>>;

impl Table {
    fn new(kinds: Vec<Arc<Kind>>, remotes: Remotes) -> Self {
        let by_resource = kinds
            .iter()
            .map(|k| ((k.group.to_string(), k.version.to_string(), k.plural.to_string()), k.clone()))
            .collect();
        let mut rows: HashMap<String, Vec<Arc<Kind>>> = HashMap::new();
        for kind in &kinds {
            rows.entry(kind.storage_prefix()).or_default().push(kind.clone());
        }
        let by_prefix = rows.into_iter().map(|(prefix, rows)| (prefix, rows.into())).collect();
        Self { kinds, by_resource, by_prefix, remotes }
    }

    /// All rows of each resource: the versions it is served in.
    pub fn resources(&self) -> impl Iterator<Item = &Arc<[Arc<Kind>]>> {
        self.by_prefix.values()
    }

    /// All rows of the resource that `kind` is a row of.
    pub fn versions(&self, kind: &Kind) -> Arc<[Arc<Kind>]> {
        self.by_prefix.get(&kind.storage_prefix()).cloned().unwrap_or_default()
    }

    /// All kinds, in discovery's order.
    pub fn kinds(&self) -> &[Arc<Kind>] {
        &self.kinds
    }

    /// The kind behind `/apis/<group>/<version>/…/<resource>`.
    pub fn find(&self, group: &str, version: &str, resource: &str) -> Option<&Arc<Kind>> {
        self.by_resource.get(&(group.to_owned(), version.to_owned(), resource.to_owned()))
    }

    /// All group versions that other servers have.
    pub fn remotes(&self) -> impl Iterator<Item = &Arc<Remote>> {
        self.remotes.values().flatten()
    }

    /// The other server that has a group version; whatever this one has of it itself is not served then.
    pub fn remote(&self, group: &str, version: &str) -> Option<&Arc<Remote>> {
        self.remotes.get(group)?.iter().find(|remote| remote.version == version)
    }

    /// The kind of objects that call themselves so.
    pub fn named(&self, api_version: &str, kind: &str) -> Option<&Arc<Kind>> {
        self.kinds.iter().find(|row| row.kind == kind && row.api_version() == api_version)
    }

    /// Whether the group version serves anything.
    pub fn serves(&self, group: &str, version: &str) -> bool {
        self.kinds.iter().any(|k| k.group == group && k.version == version)
    }
}

/// The current table.
pub struct Registry {
    builtin: Vec<Arc<Kind>>,
    table: RwLock<Arc<Table>>,
}

impl Registry {
    /// The table of the built-in kinds that are served by default.
    #[cfg(test)]
    pub fn builtin() -> Self {
        Self::new(&RuntimeConfig::default())
    }

    /// The table of the built-in kinds that are to be served.
    pub fn new(runtime: &RuntimeConfig) -> Self {
        let builtin = kinds::builtin::all().into_iter().filter(|kind| runtime.serves(kind));
        let builtin: Vec<_> = builtin.map(Arc::new).collect();
        Self { table: RwLock::new(Arc::new(Table::new(builtin.clone(), Remotes::new()))), builtin }
    }

    /// The table as it stands.
    pub fn table(&self) -> Arc<Table> {
        self.table.read().clone()
    }

    /// Whether a resource is built in.
    pub fn is_builtin(&self, group: &str, plural: &str) -> bool {
        self.builtin.iter().any(|known| known.group == group && known.plural == plural)
    }

    /// Replaces the custom kinds, none of which is a built-in one.
    pub fn set_custom(&self, custom: impl Iterator<Item = Arc<Kind>>) {
        let kinds = self.builtin.iter().cloned().chain(custom).collect();
        let mut table = self.table.write();
        *table = Arc::new(Table::new(kinds, table.remotes.clone()));
    }

    /// Replaces what other servers have.
    pub fn set_remotes(&self, remotes: Remotes) {
        let mut table = self.table.write();
        *table = Arc::new(Table::new(table.kinds.clone(), remotes));
    }
}

/// How deep in an object the values of selectable fields may lie whatever the fields' names say: a pod's
/// `status.podIP` is its first `status.podIPs[*].ip`.
const FIELD_DEPTH: usize = 3;

/// How the cache keeps the objects of a resource, given all its versions.
pub fn resource_spec(rows: &[Arc<Kind>]) -> ResourceSpec {
    let prefix = rows.first().map(|kind| kind.storage_prefix()).unwrap_or_default();
    // Fields have the stored form's names; versions with other fields say how theirs are called there.
    let readers: Vec<Arc<dyn Rules>> = rows
        .iter()
        .filter(|kind| !matches!(&kind.stored_as, Some(s) if matches!(s.conversion, Conversion::Fields(_))))
        .map(|kind| kind.rules.clone())
        .filter(|rules| !rules.selectable_fields(&Value::Null).is_empty())
        .collect();
    let custom = rows.iter().find(|kind| kind.is_custom() && kind.is_stored_form()).cloned();
    let read = custom.map(|kind| -> ReadFn {
        Arc::new(move |bytes| {
            let stored: Value = serde_json::from_slice(bytes).ok()?;
            let shown = kind.own_form(stored.clone());
            if shown == stored { None } else { serde_json::to_vec(&shown).ok() }
        })
    });
    if readers.is_empty() {
        return ResourceSpec { prefix, fields: None, read };
    }
    let names = readers.iter().flat_map(|rules| rules.selectable_fields(&Value::Null));
    let depth = names.map(|(name, _)| name.split('.').count()).max().unwrap_or(0).max(FIELD_DEPTH);
    let fields: FieldsFn = Arc::new(move |bytes| {
        // Only objects that decode are stored. No field of a kind's own is in the metadata, often half of the text.
        let object = kinds::json::shallow(bytes, depth, "metadata").unwrap_or_default();
        let mut fields: Fields = Vec::new();
        for (name, value) in readers.iter().flat_map(|rules| rules.selectable_fields(&object)) {
            if !fields.iter().any(|(known, _)| *known == name) {
                fields.push((name, value));
            }
        }
        fields
    });
    ResourceSpec { prefix, fields: Some(fields), read }
}

#[cfg(test)]
mod tests;
