//! The table of built-in kinds: one file each with its rules, one line each here.

use std::sync::Arc;

use crate::kind::{ALL_VERBS, Kind, Strategy, Typed};

mod config_map;

/// Every built-in kind, in the order discovery lists them.
pub fn builtin() -> Vec<Kind> {
    vec![row("", "v1", "ConfigMap", "configmaps", &["cm"], true, config_map::ConfigMaps)]
}

fn row(
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    short_names: &[&'static str],
    namespaced: bool,
    strategy: impl Strategy,
) -> Kind {
    Kind {
        group: group.into(),
        version: version.into(),
        kind: kind.into(),
        plural: plural.into(),
        singular: kind.to_lowercase().into(),
        short_names: short_names.iter().map(|s| (*s).into()).collect(),
        categories: Vec::new(),
        namespaced,
        verbs: ALL_VERBS,
        subresources: Vec::new(),
        returns_deleted: false,
        scale: None,
        rules: Arc::new(Typed(strategy)),
    }
}
