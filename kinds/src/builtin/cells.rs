//! What several kinds print alike: selectors, container names, lists.
//!
//! Counterpart of the small functions of upstream's `pkg/printers/internalversion`.

use api::object::ObjectExt;
use serde_json::Value;

use crate::kind::Column;

/// The integer at `path`, 0 when there is none.
pub fn int(object: &Value, path: &[&str]) -> i64 {
    object.at(path).and_then(Value::as_i64).unwrap_or(0)
}

/// The text at `path`, or `otherwise` when there is none.
pub fn text_or(object: &Value, path: &[&str], otherwise: &str) -> Value {
    match object.str_at(path) {
        "" => otherwise.into(),
        text => text.into(),
    }
}

/// The number of entries of the map at `path`.
pub fn size(object: &Value, path: &[&str]) -> usize {
    object.at(path).and_then(Value::as_object).map_or(0, serde_json::Map::len)
}

/// A map as `a=b,c=d`; `<none>` when empty.
pub fn labels(map: Option<&Value>) -> String {
    match map.and_then(Value::as_object) {
        Some(map) if !map.is_empty() => {
            let mut pairs: Vec<String> =
                map.iter().map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default())).collect();
            pairs.sort();
            pairs.join(",")
        }
        _ => "<none>".into(),
    }
}

/// A label selector as `a=b,c in (d,e),!f`; `<none>` for one that selects everything, "" for none.
pub fn selector(selector: Option<&Value>) -> String {
    let Some(selector) = selector.filter(|s| s.is_object()) else { return String::new() };
    let mut terms: Vec<(String, String)> = Vec::new();
    for (key, value) in selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten() {
        terms.push((key.clone(), format!("{key}={}", value.as_str().unwrap_or_default())));
    }
    for expression in selector.list_at(&["matchExpressions"]) {
        let key = expression.str_at(&["key"]);
        let mut values: Vec<&str> =
            expression.list_at(&["values"]).iter().filter_map(Value::as_str).collect();
        values.sort_unstable();
        let values = values.join(",");
        terms.push((
            key.to_owned(),
            match expression.str_at(&["operator"]) {
                "In" => format!("{key} in ({values})"),
                "NotIn" => format!("{key} notin ({values})"),
                "Exists" => key.to_owned(),
                _ => format!("!{key}"),
            },
        ));
    }
    if terms.is_empty() {
        return "<none>".into();
    }
    terms.sort_by(|a, b| a.0.cmp(&b.0));
    terms.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(",")
}

/// `<field>` of each item of the list at `path`, joined with commas.
pub fn joined(object: &Value, path: &[&str], field: &str) -> String {
    object.list_at(path).iter().map(|item| item.str_at(&[field])).collect::<Vec<_>>().join(",")
}

/// The containers of the pod template below `spec`.
pub const CONTAINERS: &[&str] = &["spec", "template", "spec", "containers"];

/// The wide columns that all kinds with a pod template have; its containers are at `path`.
pub fn template_columns(path: &'static [&'static str]) -> [Column; 2] {
    let of_containers =
        |name, words, field| Column::text(name, words, move |o| joined(o, path, field).into()).wide();
    [
        of_containers("Containers", "Names of the containers of the pod template.", "name"),
        of_containers("Images", "Images of the containers of the pod template.", "image"),
    ]
}

/// The wide column of `spec.selector`.
pub fn selector_column(description: &'static str) -> Column {
    Column::text("Selector", description, |o| selector(o.at(&["spec", "selector"])).into()).wide()
}

/// The pods that are ready, of those wanted.
pub fn ready_column() -> Column {
    Column::text("Ready", "Pods that are ready, of those wanted.", |object| {
        let (ready, wanted) = (int(object, &["status", "readyReplicas"]), int(object, &["spec", "replicas"]));
        format!("{ready}/{wanted}").into()
    })
}

/// The wide column of `spec.volumeMode`.
pub fn volume_mode_column() -> Column {
    Column::text("VolumeMode", "Whether the volume is a file system or a block device.", |object| {
        text_or(object, &["spec", "volumeMode"], "<unset>")
    })
    .wide()
}

/// The phase of a volume or claim.
pub fn phase(object: &Value) -> Value {
    if object.is_deleting() { "Terminating" } else { object.str_at(&["status", "phase"]) }.into()
}

/// At most three of the `items` joined with commas, and how many more there are.
pub fn first_three(items: &[String]) -> String {
    match items {
        few if few.len() <= 3 => few.join(","),
        many => format!("{} + {} more...", many[..3].join(","), many.len() - 3),
    }
}

#[cfg(test)]
mod tests;
