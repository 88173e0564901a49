//! What a webhook is asked and answers: `admission.k8s.io` AdmissionReview.

use std::collections::BTreeMap;

use api::{Message, message, object::ObjectExt as _, status::Status};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use kinds::patch::drop_nulls;
use serde::Deserialize;
use serde_json::{Value, json};

const GROUP: &str = "admission.k8s.io";
const KIND: &str = "AdmissionReview";
/// The only form of a patch.
pub const JSON_PATCH: &str = "JSONPatch";

/// The review that is sent.
pub fn review(
    version: &str,
    uid: &str,
    mut request: Value,
    new: Option<&Value>,
    old: Option<&Value>,
) -> Value {
    request["uid"] = uid.into();
    request["object"] = json!(new);
    request["oldObject"] = json!(old);
    json!({"kind": KIND, "apiVersion": format!("{GROUP}/{version}"), "request": request})
}

/// What a webhook says.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Response {
    uid: String,
    /// Whether the operation may go on.
    pub allowed: bool,
    /// Why not.
    pub status: Option<Status>,
    patch: Option<String>,
    patch_type: Option<String>,
    /// What the caller is to be warned of.
    pub warnings: Vec<String>,
    /// What is to be noted of the request.
    pub audit_annotations: BTreeMap<String, String>,
}

/// Reads an answer, with its patch.
///
/// # Errors
/// What is wrong with it, in upstream's words.
pub fn response(
    bytes: &[u8],
    version: &str,
    uid: &str,
    mutating: bool,
) -> Result<(Response, Option<Vec<u8>>), Message> {
    let unreadable = |why: String| format!("failed to call webhook: {why}");
    let mut answer = kinds::json::parse(bytes)
        .map_err(|why| unreadable(format!("couldn't get version/kind; json parse error: {why}")))?;
    drop_nulls(&mut answer);
    let (api_version, kind) = (answer.str_at(&["apiVersion"]), answer.str_at(&["kind"]));
    let wrong = |why: String| Err(message!("received invalid webhook response: {why}"));
    let Some(response) = answer.get("response") else { return wrong("webhook response was absent".into()) };
    let response = Response::deserialize(response).map_err(|why| unreadable(why.to_string()))?;
    // Webhooks of the old version were not held to these.
    if version == "v1" {
        if response.uid != uid {
            return wrong(format!("expected response.uid={uid:?}, got {:?}", response.uid));
        }
        if (api_version, kind) != (&format!("{GROUP}/{version}"), KIND) {
            let slash = if api_version.contains('/') { "" } else { "/" };
            return wrong(format!(
                "expected webhook response of {GROUP}/{version}, Kind={KIND}, got {slash}{api_version}, Kind={kind}"
            ));
        }
    }
    let patch = response.patch.as_deref().filter(|patch| !patch.is_empty());
    let said = response.patch_type.as_deref();
    let patch_type = match (version, patch) {
        ("v1", _) => said,
        (_, patch) => patch.map(|_| JSON_PATCH),
    };
    match (mutating, patch, patch_type) {
        (false, Some(_), _) if version == "v1" => {
            return wrong("validating webhook may not return response.patch".into());
        }
        (false, _, Some(_)) if version == "v1" => {
            return wrong("validating webhook may not return response.patchType".into());
        }
        (false, ..) => return Ok((response, None)),
        (true, Some(_), None) => {
            return wrong("webhook returned response.patch but not response.patchType".into());
        }
        (true, None, Some(_)) => {
            return wrong("webhook returned response.patchType but not response.patch".into());
        }
        (true, _, Some("")) => return wrong("webhook returned invalid response.patchType of \"\"".into()),
        (true, _, Some(other)) if response.allowed && other != JSON_PATCH => {
            return Err(message!("unsupported patch type {other:?}"));
        }
        (true, ..) => {}
    }
    let patch = patch.map(|patch| STANDARD.decode(patch)).transpose();
    let patch = patch.map_err(|why| unreadable(format!("illegal base64 data: {why}")))?;
    Ok((response, patch))
}

/// The refusal of a webhook that does not allow an operation.
pub fn denied(webhook: &str, status: Option<Status>) -> Status {
    let mut status = status.unwrap_or_default();
    let by = format!("admission webhook {webhook:?} denied the request");
    status.code = status.code.max(400);
    if matches!(status.status.as_str(), "" | "Success") {
        "Failure".clone_into(&mut status.status);
    }
    status.message = match (status.message.as_str(), status.reason.as_str()) {
        ("", "") => format!("{by} without explanation"),
        ("", why) | (why, _) => format!("{by}: {why}"),
    };
    status
}

#[cfg(test)]
mod tests;
