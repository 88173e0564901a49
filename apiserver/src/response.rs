//! Answers: bodies, media types, `Status` as a response.

use api::status::Status;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use serde::Serialize;
use serde_json::Value;

/// The body of every answer. Only one that is passed on from elsewhere can break off.
pub type Body = UnsyncBoxBody<Bytes, hyper::Error>;

/// JSON, the media type of nearly everything.
pub const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A body of ready-made bytes.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Ready-made JSON.
pub fn json_bytes(code: StatusCode, bytes: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(bytes));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// A value as JSON.
pub fn json(code: StatusCode, value: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(bytes) => json_bytes(code, bytes),
        Err(e) => status(&Status::internal(e)),
    }
}

/// Plain text.
pub fn text(code: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(text));
    *response.status_mut() = code;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

/// A refusal.
pub fn status(status: &Status) -> Response<Body> {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let bytes = serde_json::to_vec(status).unwrap_or_default();
    let mut response = json_bytes(code, bytes);
    if let Some(seconds) = status.details.as_ref().and_then(|d| d.retry_after_seconds) {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Adds a `Warning` header for each text (RFC 7234, code 299).
pub fn warn(response: &mut Response<Body>, warnings: &[String]) {
    for text in warnings {
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"").replace(['\n', '\r'], " ");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
}

/// How the caller wants objects represented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// As they are.
    #[default]
    Object,
    /// `meta.k8s.io/v1 Table`.
    Table,
    /// `PartialObjectMetadata` and its list.
    Metadata,
}

/// What the `Accept` header asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Accept {
    /// Representation.
    pub form: Form,
    /// YAML instead of JSON.
    pub yaml: bool,
}

/// Picks the first media type of an `Accept` header that we can serve, for a kind with or without tables.
///
/// # Errors
/// 406 when there is none.
pub fn negotiate(headers: &http::HeaderMap, has_table: bool) -> Result<Accept, Status> {
    let Some(accept) = headers.get(header::ACCEPT) else { return Ok(Accept::default()) };
    let accept = accept.to_str().unwrap_or("");
    for media in accept.split(',') {
        let mut parts = media.split(';').map(str::trim);
        let yaml = match parts.next().unwrap_or("") {
            "application/json" | "application/*" | "*/*" | "" => false,
            "application/yaml" => true,
            _ => continue,
        };
        let (mut form, mut supported) = (Form::Object, true);
        for parameter in parts {
            match parameter.split_once('=') {
                Some(("as", "Table")) => form = Form::Table,
                Some(("as", "PartialObjectMetadata" | "PartialObjectMetadataList")) => form = Form::Metadata,
                Some(("as", _)) => supported = false,
                Some(("v", version)) => supported &= version == "v1",
                Some(("g", group)) => supported &= group == "meta.k8s.io",
                _ => {}
            }
        }
        if supported && (has_table || form != Form::Table) {
            return Ok(Accept { form, yaml });
        }
    }
    Err(Status::not_acceptable(
        "only the following media types are accepted: application/json, application/yaml",
    ))
}

/// An object in YAML, as `Accept: application/yaml` asks for.
pub fn yaml(code: StatusCode, json: &[u8]) -> Response<Body> {
    let rendered = serde_json::from_slice::<Value>(json)
        .map_err(|e| e.to_string())
        .and_then(|v| serde_yaml_ng::to_string(&v).map_err(|e| e.to_string()));
    match rendered {
        Ok(text) => {
            let mut response = json_bytes(code, text);
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/yaml"));
            response
        }
        Err(e) => status(&Status::internal(e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_servable_media_type_wins() {
        let ask = |accept: &str| {
            let mut headers = http::HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            negotiate(&headers, true)
        };
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(ask(kubectl).unwrap().form, Form::Table);
        let client_go = "application/vnd.kubernetes.protobuf,application/json";
        assert_eq!(ask(client_go).unwrap(), Accept::default());
        let metadata = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
        assert_eq!(ask(metadata).unwrap().form, Form::Metadata);
        assert!(ask("application/yaml").unwrap().yaml);
        assert_eq!(ask("image/png").unwrap_err().code, 406);
        let mut table = http::HeaderMap::new();
        table.insert(header::ACCEPT, "application/json;as=Table;v=v1;g=meta.k8s.io".parse().unwrap());
        assert_eq!(negotiate(&table, false).unwrap_err().code, 406);
        table.insert(header::ACCEPT, kubectl.parse().unwrap());
        assert_eq!(negotiate(&table, false).unwrap(), Accept::default());
    }
}
