//! What the `scale` subresource reads of an object must be what it can show, whatever the schema lets through.

use api::field::{Errors, Path};
use api::{Message, message};
use serde_json::Value;

use crate::{
    kind::{Part, ScalePaths},
    patch::go::{go_type, go_value},
};

/// Checks the numbers and the selector of an object; of a write of the status only what lies there.
pub fn check(object: &Value, paths: &ScalePaths, part: Part<'_>, errors: &mut Errors) {
    if !part.is_of_status() {
        replicas(object, &paths.spec_replicas, errors);
    }
    replicas(object, &paths.status_replicas, errors);
    let Some(selector) = &paths.selector else { return };
    let found = find(object, selector).and_then(|found| match found {
        Some(value) if !value.is_string() => Err(unlike(selector, value, "string")),
        _ => Ok(()),
    });
    if let Err(why) = found {
        errors.invalid(&field(selector), "", why);
    }
}

fn replicas(object: &Value, path: &[String], errors: &mut Errors) {
    let found = find(object, path).and_then(|found| match found {
        Some(value) => value.as_i64().ok_or_else(|| unlike(path, value, "int64")),
        None => Ok(0),
    });
    let at = field(path);
    match found {
        Err(why) => errors.invalid(&at, 0, why),
        Ok(n) if n < 0 => errors.invalid(&at, n, "should be a non-negative integer"),
        Ok(n) if n > i64::from(i32::MAX) => {
            errors.invalid(&at, n, format!("should be less than or equal to {}", i32::MAX));
        }
        Ok(_) => {}
    }
}

/// What lies at a path, or why nothing can.
fn find<'a>(object: &'a Value, path: &[String]) -> Result<Option<&'a Value>, Message> {
    let mut value = object;
    for (i, name) in path.iter().enumerate() {
        value = match value {
            Value::Object(map) => match map.get(name) {
                Some(value) => value,
                None => return Ok(None),
            },
            Value::Null => return Ok(None),
            other => return Err(unlike(&path[..=i], other, "map[string]interface{}")),
        };
    }
    Ok(Some(value))
}

/// In Go's words.
fn unlike(path: &[String], value: &Value, wanted: &str) -> Message {
    let at = field(path);
    message!("{at} accessor error: {} is of the type {}, expected {wanted}", go_value(value), go_type(value))
}

fn field(path: &[String]) -> Path {
    Path::new(format!(".{}", path.join(".")))
}
