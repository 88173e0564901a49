//! Other shapes of objects: the printed table that `kubectl get` shows, and metadata alone.
//!
//! `api_version` is that of `meta.k8s.io` which the client asks for.

use api::object::ObjectExt as _;
use kinds::kind::Column;
use serde_json::{Value, json};

/// The object's metadata alone (`PartialObjectMetadata`).
pub fn partial(api_version: &str, object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": api_version,
        "metadata": object.metadata().cloned().unwrap_or_default(),
    })
}

/// One row. `include` is the `includeObject` parameter: `None`, `Metadata` (the default) or `Object`.
pub fn row(api_version: &str, cells: Vec<Value>, object: &Value, include: Option<&str>) -> Value {
    let mut row = json!({"cells": cells});
    match include {
        Some("None") => {}
        Some("Object") => row["object"] = object.clone(),
        _ => row["object"] = partial(api_version, object),
    }
    row
}

/// The table that shows one object.
pub fn of_one(
    api_version: &str,
    columns: &[Column],
    cells: Vec<Value>,
    object: &Value,
    include: Option<&str>,
) -> Value {
    let meta = json!({"resourceVersion": object.resource_version()});
    table(api_version, columns, meta, vec![row(api_version, cells, object, include)])
}

/// A table of rows.
pub fn table(api_version: &str, columns: &[Column], meta: Value, rows: Vec<Value>) -> Value {
    json!({
        "kind": "Table",
        "apiVersion": api_version,
        "metadata": meta,
        "columnDefinitions": columns,
        "rows": rows,
    })
}
