//! Answers: bodies, media types, `Status` as a response.

mod pretty;
mod yaml;

use std::{collections::HashSet, sync::Arc};

use api::{field::cut, status::Status};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;

pub use pretty::{is_wanted as wants_pretty, prettified};

/// The body of every answer. One that is made while it is sent, or passed on from elsewhere, can break off: then the
/// client is told so, by a connection or stream that is cut off.
pub type Body = UnsyncBoxBody<Bytes, Broken>;

/// Why a body broke off.
pub type Broken = Box<dyn std::error::Error + Send + Sync>;

/// JSON, the media type of nearly everything.
pub const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// And of the rest.
pub const YAML: HeaderValue = HeaderValue::from_static("application/yaml");

/// What an answer carries beside it when it comes to an end, though nobody knows yet how long it is: a watch does not.
#[derive(Clone, Copy)]
pub struct HasEnd;

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

/// A value as JSON with a line for each field, for whomever.
pub fn indented(value: &Value) -> Response<Body> {
    json_bytes(StatusCode::OK, format!("{value:#}"))
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

/// A refusal. Some repeat what was sent; of a long one the beginning is enough.
pub fn status(status: &Status) -> Response<Body> {
    const LONGEST: usize = 256 * 1024;
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let bytes = if status.message.len() > LONGEST {
        serde_json::to_vec(&Status { message: cut(&status.message, LONGEST), ..status.clone() })
    } else {
        serde_json::to_vec(status)
    };
    let bytes = bytes.unwrap_or_default();
    let mut response = json_bytes(code, bytes);
    if let Some(seconds) = status.details.as_ref().and_then(|d| d.retry_after_seconds) {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// What is answered when something panicked.
pub fn stumbled() -> Status {
    Status::internal("the server stumbled over this request; its log says where")
}

/// Upstream's answer to paths outside the API.
pub fn not_a_path() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// What the caller is warned of, whatever comes of the request. All clones are about the same one.
#[derive(Clone, Default)]
pub struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    /// Notes what is allowed but unwise.
    pub fn add(&self, texts: impl IntoIterator<Item = String>) {
        self.0.lock().extend(texts);
    }

    /// Tells the caller, of the same once.
    pub fn tell(&self, response: &mut Response<Body>) {
        let mut texts = std::mem::take(&mut *self.0.lock());
        let mut told = HashSet::new();
        texts.retain(|text| told.insert(text.clone()));
        warn(response, &texts);
    }
}

/// Adds a `Warning` header for each text (RFC 7234, code 299). Where they are long together, as upstream counts that, each is
/// cut, and the last are left out.
fn warn(response: &mut Response<Body>, warnings: &[String]) {
    const TOGETHER: usize = 4096;
    const EACH: usize = 256;
    let all: usize = warnings.iter().map(String::len).sum();
    let mut room = TOGETHER;
    for text in warnings {
        let text = if all > TOGETHER { cut(text, EACH) } else { text.clone() };
        let Some(left) = room.checked_sub(text.len()) else { return };
        room = left;
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"").replace(['\n', '\r'], " ");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
}

/// Adds a `Warning` before those that there are.
pub fn warn_first(response: &mut Response<Body>, warning: &str) {
    let headers = response.headers_mut();
    let others: Vec<HeaderValue> = headers.get_all(header::WARNING).iter().cloned().collect();
    headers.remove(header::WARNING);
    warn(response, &[warning.to_owned()]);
    others.into_iter().for_each(|other| {
        response.headers_mut().append(header::WARNING, other);
    });
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accept {
    /// Representation.
    pub form: Form,
    /// `meta.k8s.io/v1` or `meta.k8s.io/v1beta1`: the version of a table or of metadata alone.
    pub api_version: &'static str,
    /// YAML instead of JSON.
    pub yaml: bool,
}

impl Accept {
    /// Whether objects are wanted as they lie in the cache.
    pub fn plain(&self) -> bool {
        self.form == Form::Object && !self.yaml
    }
}

/// The version of tables and of metadata alone that nearly everybody asks for.
const META_V1: &str = "meta.k8s.io/v1";

impl Default for Accept {
    fn default() -> Self {
        Self { form: Form::default(), api_version: META_V1, yaml: false }
    }
}

/// Which forms an answer may have besides JSON objects.
#[derive(Debug, Clone, Copy)]
pub struct Offer {
    /// What is answered and never read again is not shown in tables.
    pub table: bool,
    /// A watch is told in JSON.
    pub yaml: bool,
}

/// Picks the media type of an `Accept` header that the client likes best of those we can serve.
///
/// # Errors
/// 406 when there is none.
pub fn negotiate(headers: &http::HeaderMap, offer: Offer) -> Result<Accept, Status> {
    let Some(accept) = headers.get(header::ACCEPT) else { return Ok(Accept::default()) };
    if accept == JSON {
        return Ok(Accept::default());
    }
    let mut medias: Vec<&str> = accept.to_str().unwrap_or("").split(',').collect();
    // Of those liked alike, what is said exactly comes first.
    let stars = |media: &str| media.matches('*').count();
    medias.sort_by(|a, b| likes(b).total_cmp(&likes(a)).then(stars(a).cmp(&stars(b))));
    medias.into_iter().find_map(|media| servable(media, offer)).ok_or_else(|| not_acceptable(offer))
}

/// How much the client likes a media type.
fn likes(media: &str) -> f32 {
    let mut parameters = media.split(';').skip(1).map(str::trim);
    parameters.find_map(|p| p.strip_prefix("q=")?.parse().ok()).unwrap_or(1.0)
}

/// What a media type means, if we can serve it.
fn servable(media: &str, offer: Offer) -> Option<Accept> {
    let mut parts = media.split(';').map(str::trim);
    let yaml = match parts.next().unwrap_or("") {
        "application/json" | "application/*" | "*/*" | "" => false,
        "application/yaml" if offer.yaml => true,
        _ => return None,
    };
    let (mut form, mut version) = (Form::Object, "v1");
    for parameter in parts {
        match parameter.split_once('=') {
            Some(("as", "Table")) => form = Form::Table,
            Some(("as", "PartialObjectMetadata" | "PartialObjectMetadataList")) => form = Form::Metadata,
            Some(("as", _)) => return None,
            Some(("v", "v1")) => version = "v1",
            Some(("v", "v1beta1")) => version = "v1beta1",
            Some(("v", _)) => return None,
            Some(("g", group)) if group != "meta.k8s.io" => return None,
            _ => {}
        }
    }
    let api_version = if version == "v1" { META_V1 } else { "meta.k8s.io/v1beta1" };
    (offer.table || form != Form::Table).then_some(Accept { form, api_version, yaml })
}

fn not_acceptable(offer: Offer) -> Status {
    let medias =
        if offer.yaml { "application/json, application/yaml" } else { "application/json;stream=watch" };
    Status::not_acceptable(format!("only the following media types are accepted: {medias}"))
}

/// A value in YAML.
pub fn yaml_text(value: &Value) -> String {
    yaml::document(value)
}

/// An object in YAML, as `Accept: application/yaml` asks for.
pub fn yaml(code: StatusCode, object: &Value) -> Response<Body> {
    let mut response = json_bytes(code, yaml_text(object));
    response.headers_mut().insert(header::CONTENT_TYPE, YAML);
    response
}

#[cfg(test)]
mod tests;
