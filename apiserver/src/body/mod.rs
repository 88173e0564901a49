//! Request bodies: read within a limit, then decoded as an object of the kind the path names.

mod unread;
pub(crate) mod yaml;

use api::{
    field::{Errors, Path},
    object::ObjectExt as _,
    status::Status,
};
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use kinds::{
    json::ParseError,
    kind::{DecodeError, Kind},
};
use serde_json::{Map, Value};

pub use unread::{Upload, watched};

use crate::query::FieldValidation;

/// The largest body that is read: 3 MiB, as upstream.
pub const MAX_BODY: usize = 3 * 1024 * 1024;

/// Reads a whole body.
///
/// # Errors
/// 413 when it is larger than [`MAX_BODY`], 400 when the connection breaks.
pub async fn read<B>(body: B) -> Result<Bytes, Status>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(e) if e.downcast_ref::<LengthLimitError>().is_some() => {
            Err(Status::too_large(format!("Request entity too large: limit is {MAX_BODY}")))
        }
        Err(e) => Err(Status::bad_request(format!("cannot read the request body: {e}"))),
    }
}

/// The media type of a body, without parameters; JSON when nothing is said.
pub fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    let media = value.split(';').next().unwrap_or("").trim();
    if media.is_empty() { "application/json" } else { media }
}

/// Parses a body that holds an object.
///
/// # Errors
/// 415 for other media types, 400 for text that does not parse or is no object.
pub fn parse(media: &str, bytes: &[u8], expected: &str) -> Result<Value, Status> {
    parse_with(media, bytes, expected, kinds::json::parse, |_| {}, |_| {})
}

/// Parses the body of a subresource that has a kind of its own, which the body names or leaves out.
///
/// # Errors
/// As [`parse`], and 400 for an object of another kind.
pub fn parse_kind(media: &str, bytes: &[u8], versions: &[&str], kind: &str) -> Result<Value, Status> {
    let object = parse(media, bytes, kind)?;
    let (version, named) = (object.str_at(&["apiVersion"]), object.str_at(&["kind"]));
    if (version.is_empty() || versions.contains(&version)) && (named.is_empty() || named == kind) {
        return Ok(object);
    }
    let named = if named.is_empty() { kind } else { named };
    Err(Status::bad_request(format!(
        "{named} in version {version:?} cannot be handled as a {kind}: converting ({version}.{named}) to ({}.{kind}): unknown conversion",
        versions.first().unwrap_or(&"")
    )))
}

/// Parses a body as an object of a kind; its unknown and duplicate fields are added to `problems`.
fn parse_as(kind: &Kind, media: &str, bytes: &[u8], problems: &mut Vec<String>) -> Result<Value, Status> {
    let root = kind.object_type();
    let mut found = Vec::new();
    let json = |bytes: &[u8]| {
        let (value, strange) = kinds::json::parse_strict(bytes, root)?;
        found = strange;
        Ok(value)
    };
    let mut strange = Vec::new();
    let mut numbers = Vec::new();
    let yaml = |read: &mut yaml::Read| {
        strange.extend(read.doubled.take());
        strange.extend(unknown_in(kind, &read.value));
    };
    let value = parse_with(media, bytes, &kind.kind, json, yaml, |unknown| numbers = unknown)?;
    problems.append(&mut found);
    problems.append(&mut strange);
    problems.extend(numbers.into_iter().map(|path| format!("unknown field {path:?}")));
    Ok(value)
}

fn parse_with(
    media: &str,
    bytes: &[u8],
    expected: &str,
    json: impl FnOnce(&[u8]) -> Result<Value, ParseError>,
    yaml: impl FnOnce(&mut yaml::Read),
    protobuf: impl FnOnce(Vec<String>),
) -> Result<Value, Status> {
    let unreadable = |why: String| {
        unrecognized(expected, &format!("couldn't get version/kind; json parse error: {why}"), bytes)
    };
    let value = match media {
        "application/json" => json(bytes).map_err(|e| unreadable(e.to_string()))?,
        "application/yaml" => {
            let mut read = yaml::read(bytes).map_err(|why| unrecognized(expected, &why, bytes))?;
            yaml(&mut read);
            read.value
        }
        "application/vnd.kubernetes.protobuf" => {
            let (value, unknown) = kinds::protobuf::decode(bytes).map_err(|e| {
                Status::bad_request(format!(
                    "the object provided is unrecognized (must be of type {expected}): couldn't get version/kind; {e}"
                ))
            })?;
            protobuf(unknown);
            value
        }
        other => {
            return Err(Status::unsupported_media_type(format!(
                "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf (got {other})"
            )));
        }
    };
    // Nothing is an object without fields, as in Go.
    let value = if value.is_null() { Value::Object(Map::new()) } else { value };
    if value.is_object() {
        return Ok(value);
    }
    Err(unreadable(format!("json: cannot unmarshal {} into Go value of type {TYPE_META}", json_type(&value))))
}

/// What Go's decoder calls a value's type.
pub(crate) fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Object(_) => "object",
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Number(_) => "number",
        Value::Bool(_) => "bool",
        Value::Null => "null",
    }
}

/// What upstream reads of a body first, in Go's words.
const TYPE_META: &str =
    r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;

/// The refusal of a body that does not say what it is. Only its beginning is shown: as it is where it may be an object, else in
/// hexadecimal digits.
fn unrecognized(expected: &str, why: &str, bytes: &[u8]) -> Status {
    const SHOWN: usize = 30;
    let begun = &bytes[..bytes.len().min(SHOWN)];
    let more = if begun.len() < bytes.len() { " ..." } else { "" };
    let shown = match begun.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => String::from_utf8_lossy(begun).into_owned(),
        Some(_) => begun.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    Status::bad_request(format!(
        "the object provided is unrecognized (must be of type {expected}): {why} ({shown}{more})"
    ))
}

/// An object and what was odd about its text.
#[derive(Debug)]
pub struct Decoded {
    /// The object, as sent.
    pub object: Value,
    /// Unknown and duplicate fields, when they are to be warned of.
    pub warnings: Vec<String>,
}

/// Decodes the body of a create or update.
///
/// # Errors
/// 400 and 415, with upstream's texts.
pub fn object(
    kind: &Kind,
    media: &str,
    bytes: &[u8],
    validation: FieldValidation,
) -> Result<Decoded, Status> {
    let mut problems = Vec::new();
    let object = if validation == FieldValidation::Ignore {
        parse(media, bytes, &kind.kind)?
    } else {
        parse_as(kind, media, bytes, &mut problems)?
    };
    check_type(kind, &object)?;
    if validation == FieldValidation::Strict && !problems.is_empty() {
        // What does not fit the type is told before what is too much.
        read_as(kind, object)?;
        let strange = format!("strict decoding error: {}", problems.join(", "));
        return Err(unreadable_as(kind, &DecodeError(strange)));
    }
    Ok(Decoded { object, warnings: problems })
}

/// Decodes the body of a server-side apply, of exactly the kind: YAML, which JSON is, too.
///
/// # Errors
/// 400. What does not fit the type is found when it is merged.
pub fn configuration(
    (api_version, kind): (&str, &str),
    bytes: &[u8],
    validation: FieldValidation,
) -> Result<Decoded, Status> {
    let unreadable = |error: String| Status::bad_request(format!("error decoding YAML: {error}"));
    // What is JSON need not be read as YAML, which takes longer, unless there is something to say of it.
    let (object, doubled) = match kinds::json::parse_strict(bytes, None) {
        Ok((object, problems)) if problems.is_empty() => (object, None),
        _ => {
            let converting = |why: &str| format!("error converting YAML to JSON: {why}");
            let read = yaml::read(bytes).map_err(|why| unreadable(converting(&why)))?;
            (read.value, read.doubled.as_deref().map(converting))
        }
    };
    let problems: Vec<String> = doubled.into_iter().collect();
    if !object.is_object() && !object.is_null() {
        return Err(unreadable(format!(
            "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            json_type(&object)
        )));
    }
    let (version, named) = (object.str_at(&["apiVersion"]), object.str_at(&["kind"]));
    if version != api_version || named != kind {
        return Err(Status::bad_request(format!("invalid object type: {}", api::object::named(&object))));
    }
    if validation == FieldValidation::Strict && !problems.is_empty() {
        return Err(Status::bad_request(format!("error strict decoding YAML: {}", problems.join(", "))));
    }
    let warned = validation == FieldValidation::Warn;
    Ok(Decoded { object, warnings: if warned { problems } else { Vec::new() } })
}

/// Reads a value as an object of a kind and fills in the defaults.
///
/// # Errors
/// 400 when a field has the wrong type.
pub fn read_as(kind: &Kind, object: Value) -> Result<Value, Status> {
    try_read(kind, object).map_err(|why| unreadable_as(kind, &why))
}

/// Reads what a configuration makes of an object. Of a custom one, what its schema does not declare or let be null is
/// still there to be validated, and goes when it is stored.
///
/// # Errors
/// As [`read_as`].
pub fn read_applied(kind: &Kind, mut object: Value) -> Result<Value, Status> {
    let Some((types, root)) = kind.object_type().filter(|_| kind.is_custom()) else {
        return read_as(kind, object);
    };
    types.conform(&mut object, root).map_err(|why| unreadable_as(kind, &why))?;
    kind.rules.fill_in(&mut object);
    Ok(object)
}

fn unreadable_as(kind: &Kind, why: &DecodeError) -> Status {
    Status::bad_request(format!(
        "{} in version {:?} cannot be handled as a {}: {why}",
        kind.kind, kind.version, kind.kind
    ))
}

/// [`read_as`], for callers that word the refusal themselves.
///
/// # Errors
/// Which field has the wrong type.
pub fn try_read(kind: &Kind, mut object: Value) -> Result<Value, DecodeError> {
    if let Some((types, root)) = kind.object_type() {
        types.conform(&mut object, root)?;
    }
    let mut object = kind.rules.default(object)?;
    kind.complete(&mut object);
    Ok(object)
}

/// Refuses an object of another kind or version than the path names.
fn check_type(kind: &Kind, object: &Value) -> Result<(), Status> {
    let (version, named) = (object.str_at(&["apiVersion"]), object.str_at(&["kind"]));
    let ours = kind.api_version();
    if (version.is_empty() || version == ours) && (named.is_empty() || named == kind.kind) {
        return Ok(());
    }
    if kind.is_custom() {
        return Err(not_custom(kind, object, version, named));
    }
    let why = if !named.is_empty() && named != kind.kind {
        format!(
            "converting ({version}.{named}) to ({}.{}): unknown conversion",
            internal_group(&kind.group),
            kind.kind
        )
    } else {
        unregistered(version, &kind.kind)
    };
    let named = if named.is_empty() { &kind.kind } else { named };
    Err(Status::bad_request(format!(
        "{named} in version {version:?} cannot be handled as a {}: {why}",
        kind.kind
    )))
}

/// Upstream's refusals of objects that are not of a custom kind.
fn not_custom(kind: &Kind, object: &Value, version: &str, named: &str) -> Status {
    let ours = kind.api_version();
    if !version.is_empty() && version != ours {
        return Status::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({ours})"
        ));
    }
    let mut errors = Errors::default();
    errors.invalid(&Path::new("kind"), named, format!("must be {}", kind.kind));
    Status::invalid(named, &kind.group, object.name(), &errors)
}

/// A group as upstream calls its own types' package.
pub fn internal_group(group: &str) -> &str {
    if group.is_empty() { "core" } else { group.split('.').next().unwrap_or("") }
}

/// What upstream says of a kind that there is not.
pub fn unregistered(version: &str, kind: &str) -> String {
    format!(
        "no kind {kind:?} is registered for version {version:?} in scheme \"pkg/api/legacyscheme/scheme.go:30\""
    )
}

/// The fields of an object that its kind does not have, as field validation tells of them.
pub fn unknown_in(kind: &Kind, object: &Value) -> Vec<String> {
    let paths = kind.object_type().map(|(types, root)| types.unknown_fields(object, root));
    paths.into_iter().flatten().map(|path| format!("unknown field {path:?}")).collect()
}
