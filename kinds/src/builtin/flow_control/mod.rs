//! FlowSchema and PriorityLevelConfiguration: which requests share which part of the server's attention.
//!
//! The objects every cluster begins with are data ([`bootstrap`]); two of each are mandatory, and validation
//! holds them to their fixed specs. Counterpart of upstream's `pkg/apis/flowcontrol`.

mod level;
mod schema;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use serde::Deserialize;
use serde_json::json;

use crate::builtin::prelude::*;

/// Names of the mandatory objects of both kinds.
const MANDATORY: [&str; 2] = ["catch-all", "exempt"];
/// Says that an object's spec is kept as the server has it.
const AUTO_UPDATE: &str = "apf.kubernetes.io/autoupdate-spec";

/// The objects every cluster begins with, as specs by name.
#[derive(Deserialize)]
struct Bootstrap {
    levels: BTreeMap<String, Value>,
    schemas: BTreeMap<String, Value>,
}

static BOOTSTRAP: LazyLock<Bootstrap> = LazyLock::new(|| {
    serde_json::from_str(include_str!("bootstrap.json"))
        .expect("the file is part of the program and a test reads it")
});

/// What every cluster begins with: priority levels, and flow schemas.
pub fn bootstrap() -> (Vec<Value>, Vec<Value>) {
    let objects = |specs: &BTreeMap<String, Value>| {
        let object = |(name, spec): (&String, &Value)| json!({"metadata": {"name": name, "annotations": {AUTO_UPDATE: "true"}}, "spec": spec});
        specs.iter().map(object).collect()
    };
    (objects(&BOOTSTRAP.levels), objects(&BOOTSTRAP.schemas))
}

/// The types of conditions: given, and none twice.
fn conditions<'a>(types: impl Iterator<Item = Option<&'a String>>, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (i, kind) in types.enumerate() {
        let at = Path::new("status.conditions").index(i).child("type");
        let kind = kind.map(String::as_str).unwrap_or_default();
        unique(&mut seen, kind, &at, errors);
        if kind.is_empty() {
            errors.required(&at, "must not be empty");
        }
    }
}

#[cfg(test)]
mod tests;
