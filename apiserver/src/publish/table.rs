//! Other shapes of objects: the printed table that `kubectl get` shows, and metadata alone.

use api::{kind::Kind, object::ObjectExt as _};
use jiff::Timestamp;
use serde_json::{Value, json};

/// The object's metadata alone (`PartialObjectMetadata`).
pub fn partial(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object.metadata().cloned().unwrap_or_default(),
    })
}

/// One row. `include` is the `includeObject` parameter: `None`, `Metadata` (the default) or `Object`.
pub fn row(kind: &Kind, object: &Value, include: Option<&str>, now: Timestamp) -> Value {
    let mut row = json!({"cells": kind.rules.cells(object, now)});
    match include {
        Some("None") => {}
        Some("Object") => row["object"] = object.clone(),
        _ => row["object"] = partial(object),
    }
    row
}

/// A table of rows.
pub fn table(kind: &Kind, meta: Value, rows: Vec<Value>) -> Value {
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": meta,
        "columnDefinitions": kind.rules.columns(),
        "rows": rows,
    })
}
