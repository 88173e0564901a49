#![allow(missing_docs)]
use crate::{schema::*, status::Status};
use serde_json::Value;
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchType {
    Json,
    Merge,
    Strategic,
    Apply,
}
impl PatchType {
    pub const MEDIA_TYPES: &'static [&'static str] = &[];
    pub fn of(m: &str) -> Option<Self> {
        Some(match m {
            "application/json-patch+json" => Self::Json,
            "application/merge-patch+json" => Self::Merge,
            "application/strategic-merge-patch+json" => Self::Strategic,
            "application/apply-patch+yaml" => Self::Apply,
            _ => return None,
        })
    }
}
pub fn apply_patch(
    _t: PatchType,
    _: &Types,
    _: Option<TypeRef>,
    c: &Value,
    p: &[u8],
) -> Result<Value, Status> {
    let mut v = c.clone();
    json_patch::merge(&mut v, &serde_json::from_slice(p).map_err(|e| Status::bad_request(e.to_string()))?);
    Ok(v)
}
