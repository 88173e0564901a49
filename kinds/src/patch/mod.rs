//! Patches: JSON patch, merge patch and strategic merge patch. (Server-side apply is [`crate::apply`].)
//!
//! Pure functions from a present state and a patch to the wanted state, which the caller then reads as its
//! kind again. Refusals are those of upstream's `handlers/patch.go`.

mod document;
pub(crate) mod go;
mod json;
mod merge;
mod order;
mod strategic;

use api::{
    field::{Errors, Path},
    status::{Details, Status},
};
pub use merge::drop_nulls;
use serde_json::Value;

use crate::{
    json as text,
    schema::{TypeRef, Types},
};

/// The forms of a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchType {
    /// A list of operations (RFC 6902).
    Json,
    /// An object laid over the present one (RFC 7386).
    Merge,
    /// The same with lists merged by key.
    Strategic,
    /// A configuration to apply.
    Apply,
}

impl PatchType {
    /// The form that a media type stands for.
    pub fn of(media_type: &str) -> Option<Self> {
        Some(match media_type {
            "application/json-patch+json" => Self::Json,
            "application/merge-patch+json" => Self::Merge,
            "application/strategic-merge-patch+json" => Self::Strategic,
            "application/apply-patch+yaml" => Self::Apply,
            _ => return None,
        })
    }
}

/// The state that `patch` makes of `current`. `root` is the type of `current`; without one, strategic merge
/// knows no merge keys.
///
/// # Errors
/// 400 for a patch that cannot be read, 413 for one with too many operations, 415 for [`PatchType::Apply`],
/// 422 for one that does not fit the object.
pub fn apply_patch(
    form: PatchType,
    types: &Types,
    root: Option<TypeRef>,
    current: &Value,
    patch: &[u8],
) -> Result<Value, Status> {
    let decoding = |e: &dyn std::fmt::Display| Status::bad_request(format!("error decoding patch: {e}"));
    match form {
        PatchType::Json => match text::parse(patch).map_err(|e| decoding(&e))? {
            Value::Array(operations) => json::apply(current, operations),
            Value::Null => Ok(current.clone()),
            other => Err(decoding(&unfit(&other, "[]handlers.jsonPatchOp"))),
        },
        PatchType::Merge => match text::parse(patch).map_err(|e| decoding(&e))? {
            Value::Object(changes) => Ok(merge::apply(current, changes)),
            Value::Null => Err(Status::bad_request("Invalid JSON Patch")),
            other => Err(decoding(&unfit(&other, "map[string]interface {}"))),
        },
        PatchType::Strategic => match text::parse(patch).map_err(|e| Status::bad_request(e.to_string()))? {
            Value::Object(mut changes) => {
                changes.values_mut().for_each(text::drop_empty_fractions);
                strategic::apply(types, root, current, changes)
            }
            Value::Null => Ok(current.clone()),
            other => Err(Status::bad_request(unfit(&other, "map[string]interface {}"))),
        },
        PatchType::Apply => Err(Status::unsupported_media_type("apply is not a patch of this resource")),
    }
}

/// The state that the operations of a JSON patch make of `current`: the same when one of their tests fails.
///
/// # Errors
/// As [`apply_patch`].
pub fn operate(current: &Value, operations: Vec<Value>) -> Result<Value, Status> {
    json::apply_unless_tested(current, operations).map(|patched| patched.unwrap_or_else(|| current.clone()))
}

/// What is strange about a patch's own text, as field validation tells it: fields given twice, and those that an
/// operation does not have.
pub fn odd_fields(form: PatchType, patch: &[u8]) -> Vec<String> {
    // What cannot be read is refused where it is applied.
    let Ok((value, mut odd)) = text::parse_strict(patch, None) else { return Vec::new() };
    if form != PatchType::Json {
        return odd;
    }
    for (i, operation) in value.as_array().into_iter().flatten().enumerate() {
        let unknown = |name: &&String| !matches!(name.as_str(), "op" | "path" | "from" | "value");
        let names = operation.as_object().into_iter().flat_map(|operation| operation.keys());
        odd.extend(names.filter(unknown).map(|name| format!("unknown field \"[{i}].{name}\"")));
    }
    odd.into_iter().take(text::MAX_PROBLEMS).map(|problem| format!("json patch {problem}")).collect()
}

/// The refusal of a patch whose outcome cannot be read as the object's kind.
pub fn unreadable(form: PatchType, patched: &Value, patch: &[u8], why: &str) -> Status {
    let shown = match form {
        PatchType::Strategic => text::parse(patch).map(|p| go::go_value(&p)).unwrap_or_default(),
        _ => patched.to_string(),
    };
    let mut errors = Errors::default();
    errors.invalid(&Path::new("patch"), shown, why);
    Status::invalid("", "", "", &errors)
}

fn unfit(patch: &Value, go: &str) -> String {
    format!("json: cannot unmarshal {} into Go value of type {go}", kind_of(patch))
}

/// What Go's decoder calls a value.
fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Object(_) => "object",
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Bool(_) => "bool",
        Value::Null => "null",
        Value::Number(_) => "number",
    }
}

/// 422 in the words that upstream has for every patch that does not fit.
fn does_not_fit() -> Status {
    let mut status =
        Status::failure(422, "Invalid", "the server rejected our request due to an error in our request");
    status.details = Some(Details::default());
    status
}

#[cfg(test)]
mod tests;
