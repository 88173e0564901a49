#![allow(missing_docs)]
use crate::{schema::*, status::Status};
use serde_json::Value;
pub struct Options<'a> {
    pub manager: &'a str,
    pub force: bool,
    pub subresource: &'a str,
    pub api_version: String,
    pub now: jiff::Timestamp,
}
pub struct Conflicts;
impl Conflicts {
    pub fn into_status(self, _: &str, _: &str, _: &str) -> Status {
        Status::unauthorized()
    }
}
pub fn apply(
    _: &Types,
    _: TypeRef,
    _l: Option<&Value>,
    c: &Value,
    _: &Options<'_>,
) -> Result<Value, Conflicts> {
    Ok(c.clone())
}
pub fn track_update(_: &Types, _: TypeRef, _o: Option<&Value>, n: Value, _: &Options<'_>) -> Value {
    n
}
