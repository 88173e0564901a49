//! JSON patch: operations one after the other, with bounds on their number and on what copies may add.

use json_patch::{PatchOperation, patch_unsafe};
use serde::Deserialize;
use serde_json::Value;

use super::does_not_fit;
use crate::{
    json::{MAX_DEPTH, is_within},
    status::Status,
};

/// At most so many operations, as upstream.
const MAX_OPERATIONS: usize = 10_000;
/// At most so many bytes may be added by copies: the size of the largest body.
const MAX_COPIED: usize = 3 * 1024 * 1024;

pub(super) fn apply(current: &Value, operations: Vec<Value>) -> Result<Value, Status> {
    if operations.len() > MAX_OPERATIONS {
        return Err(Status::too_large(format!(
            "Request entity too large: The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            operations.len()
        )));
    }
    let mut result = current.clone();
    let mut copied = 0;
    for operation in operations {
        if !operation.is_object() {
            return Err(Status::bad_request(
                "error decoding patch: json: cannot unmarshal a list item into Go value of type handlers.jsonPatchOp",
            ));
        }
        // A test of nothing against null holds.
        if operation.get("op").and_then(Value::as_str) == Some("test")
            && operation.get("value").is_none_or(Value::is_null)
            && operation.get("path").and_then(Value::as_str).is_some_and(|p| result.pointer(p).is_none())
        {
            continue;
        }
        let operation = PatchOperation::deserialize(operation).map_err(|_| does_not_fit())?;
        if let PatchOperation::Copy(copy) = &operation {
            let source = result.pointer(copy.from.as_str()).ok_or_else(does_not_fit)?;
            copied += source.to_string().len();
            if copied > MAX_COPIED {
                return Err(does_not_fit());
            }
        }
        if is_too_deep(&operation, &result) {
            return Err(does_not_fit());
        }
        patch_unsafe(&mut result, std::slice::from_ref(&operation)).map_err(|_| does_not_fit())?;
    }
    Ok(result)
}

/// Whether what an operation puts in comes to lie deeper than anything may.
fn is_too_deep(operation: &PatchOperation, document: &Value) -> bool {
    let (path, value) = match operation {
        PatchOperation::Add(op) => (&op.path, Some(&op.value)),
        PatchOperation::Replace(op) => (&op.path, Some(&op.value)),
        PatchOperation::Copy(op) => (&op.path, document.pointer(op.from.as_str())),
        PatchOperation::Move(op) => (&op.path, document.pointer(op.from.as_str())),
        PatchOperation::Remove(_) | PatchOperation::Test(_) => return false,
    };
    let left = MAX_DEPTH.checked_sub(path.tokens().count());
    value.is_some_and(|value| left.is_none_or(|left| !is_within(left, value)))
}
