//! `Status`: the one shape of every refusal (`meta.k8s.io/v1 Status`), with Kubernetes' reasons and words.
//!
//! Counterpart of upstream's `apimachinery/pkg/api/errors`.

use std::{collections::HashSet, fmt};

use serde::{Deserialize, Serialize};

use crate::field::Errors;

/// A refusal or failure as the API reports it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// Always `Status`.
    pub kind: String,
    /// Always `v1`.
    pub api_version: String,
    /// List metadata; always empty here, present on the wire.
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// `Success` or `Failure`.
    pub status: String,
    /// What happened, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// What happened, for programs (`NotFound`, `Conflict`, …).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What it happened to, and the causes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
    /// The HTTP status code; 0 stands for none.
    #[serde(skip_serializing_if = "is_zero")]
    pub code: u16,
}

/// What a [`Status`] is about.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Details {
    /// The object's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The object's API group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The resource (`pods`) or, for validation errors, the kind (`Pod`).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The object's uid.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// One entry for each thing that is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// Seconds after which to try again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u32>,
}

/// One cause of a refusal.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cause {
    /// `FieldValueInvalid`, …
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What is wrong.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Where.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes a reference")]
fn is_zero(code: &u16) -> bool {
    *code == 0
}

impl Default for Status {
    fn default() -> Self {
        Self {
            kind: "Status".into(),
            api_version: "v1".into(),
            metadata: serde_json::Map::new(),
            status: "Failure".into(),
            message: String::new(),
            reason: String::new(),
            details: None,
            code: 0,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

/// `pods` or `deployments.apps`.
pub fn qualified(resource: &str, group: &str) -> String {
    if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
}

impl Status {
    /// A failure with `code`, `reason` and `message`, without details.
    pub fn failure(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self { code, reason: reason.into(), message: message.into(), ..Self::default() }
    }

    /// A success that names what it was about (the answer to most deletions).
    pub fn success(details: Details) -> Self {
        Self { status: "Success".into(), details: Some(details), ..Self::default() }
    }

    fn about(mut self, resource: &str, group: &str, name: &str) -> Self {
        self.details = Some(Details {
            name: name.into(),
            group: group.into(),
            kind: resource.into(),
            ..Details::default()
        });
        self
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::failure(400, "BadRequest", message)
    }

    /// 401: the caller gave no credentials, or wrong ones.
    pub fn unauthorized() -> Self {
        Self::failure(401, "Unauthorized", "Unauthorized")
    }

    /// 403 with upstream's sentence about an object.
    pub fn forbidden(resource: &str, group: &str, name: &str, why: impl fmt::Display) -> Self {
        let what = qualified(resource, group);
        let message = if what.is_empty() {
            format!("forbidden: {why}")
        } else if name.is_empty() {
            format!("{what} is forbidden: {why}")
        } else {
            format!("{what} {name:?} is forbidden: {why}")
        };
        Self::failure(403, "Forbidden", message).about(resource, group, name)
    }

    /// 404 for an object.
    pub fn not_found(resource: &str, group: &str, name: &str) -> Self {
        Self::failure(404, "NotFound", format!("{} {name:?} not found", qualified(resource, group)))
            .about(resource, group, name)
    }

    /// 404 for a path that no resource answers to, below a group version that exists.
    pub fn no_such_resource() -> Self {
        let mut s = Self::failure(404, "NotFound", "the server could not find the requested resource");
        s.details = Some(Details::default());
        s
    }

    /// 405.
    pub fn method_not_allowed() -> Self {
        let mut s = Self::failure(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        );
        s.details = Some(Details::default());
        s
    }

    /// 409 on create.
    pub fn already_exists(resource: &str, group: &str, name: &str) -> Self {
        Self::failure(409, "AlreadyExists", format!("{} {name:?} already exists", qualified(resource, group)))
            .about(resource, group, name)
    }

    /// 409 on a write that came too late or to the wrong object.
    pub fn conflict(resource: &str, group: &str, name: &str, why: impl fmt::Display) -> Self {
        let what = qualified(resource, group);
        Self::failure(409, "Conflict", format!("Operation cannot be fulfilled on {what} {name:?}: {why}"))
            .about(resource, group, name)
    }

    /// 409 because the object changed since the caller read it.
    pub fn modified(resource: &str, group: &str, name: &str) -> Self {
        Self::conflict(
            resource,
            group,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 410: the revision asked for is no longer known.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::failure(410, "Expired", message)
    }

    /// 413.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::failure(413, "RequestEntityTooLarge", message)
    }

    /// 415.
    pub fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::failure(415, "UnsupportedMediaType", message)
    }

    /// 406.
    pub fn not_acceptable(message: impl Into<String>) -> Self {
        Self::failure(406, "NotAcceptable", message)
    }

    /// 422 with one cause for each field error; the message says the same thing once.
    pub fn invalid(kind: &str, group: &str, name: &str, errors: &Errors) -> Self {
        let mut said = HashSet::new();
        let mut texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        texts.retain(|text| said.insert(text.clone()));
        if errors.more() > 0 {
            texts.push(format!("and {} more errors", errors.more()));
        }
        let list = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let mut status =
            Self::failure(422, "Invalid", format!("{} {name:?} is invalid: {list}", qualified(kind, group)))
                .about(kind, group, name);
        if let Some(details) = &mut status.details {
            details.causes = errors
                .iter()
                .map(|e| Cause {
                    reason: e.kind.reason().into(),
                    message: e.body.clone(),
                    field: e.field.clone(),
                })
                .collect();
        }
        status
    }

    /// 422 about the request's options (`CreateOptions`, `ListOptions`, …).
    pub fn invalid_options(options: &str, errors: &Errors) -> Self {
        let mut s = Self::invalid(options, "meta.k8s.io", "", errors);
        if let Some(d) = &mut s.details {
            d.group = "meta.k8s.io".into();
        }
        s
    }

    /// 429.
    pub fn too_many_requests(message: impl Into<String>, retry_after: u32) -> Self {
        let mut s = Self::failure(429, "TooManyRequests", message);
        s.details = Some(Details { retry_after_seconds: Some(retry_after), ..Details::default() });
        s
    }

    /// 500.
    pub fn internal(message: impl fmt::Display) -> Self {
        let text = message.to_string();
        let mut s = Self::failure(500, "InternalError", format!("Internal error occurred: {text}"));
        s.details =
            Some(Details { causes: vec![Cause { message: text, ..Cause::default() }], ..Details::default() });
        s
    }

    /// 503: something the server rests on does not answer.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::failure(503, "ServiceUnavailable", message)
    }

    /// 504.
    pub fn timeout(message: impl fmt::Display, retry_after: u32) -> Self {
        let mut s = Self::failure(504, "Timeout", format!("Timeout: {message}"));
        s.details = Some(Details { retry_after_seconds: Some(retry_after), ..Details::default() });
        s
    }
}

#[cfg(test)]
mod tests;
