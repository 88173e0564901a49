//! Requests for certificates: who asks is what authentication said, and the request must be signed by the key
//! it is about.

use api::{
    field::{Errors, Path},
    object::ObjectExt as _,
    status::Status,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{context::Ctx, stamp::now};

/// Writes into a new request who asks, whatever it says itself.
///
/// # Errors
/// 422 for what is no certificate request, or not signed by its own key.
pub fn create(ctx: &Ctx, object: &mut Value) -> Result<(), Status> {
    let encoded = object.str_at(&["spec", "request"]);
    let pem = STANDARD.decode(encoded).unwrap_or_default();
    if let Err(why) = machinery::pki::check_request(&pem) {
        let mut errors = Errors::default();
        errors.invalid(&Path::new("spec.request"), encoded, why);
        return Err(ctx.invalid(object.name(), &errors));
    }
    if let Some(spec) = object["spec"].as_object_mut() {
        spec.retain(|field, _| !["username", "uid", "groups", "extra"].contains(&field.as_str()));
        spec.extend(ctx.user.fields());
    }
    Ok(())
}

/// Gives the conditions of a status the times they lack.
pub fn stamp(new: &mut Value, old: &Value) {
    let before = old.at(&["status", "conditions"]).and_then(Value::as_array).cloned().unwrap_or_default();
    let Some(conditions) = new.pointer_mut("/status/conditions").and_then(Value::as_array_mut) else {
        return;
    };
    for condition in conditions.iter_mut().filter(|c| c.is_object()) {
        if condition["lastUpdateTime"].is_null() {
            condition["lastUpdateTime"] = json!(now());
        }
        if condition["lastTransitionTime"].is_null() {
            let same = |c: &&Value| c["type"] == condition["type"] && c["status"] == condition["status"];
            let since = before.iter().find(same).map(|c| c["lastTransitionTime"].clone());
            condition["lastTransitionTime"] = since.filter(|t| !t.is_null()).unwrap_or_else(|| json!(now()));
        }
    }
}

#[cfg(test)]
mod tests;
