#![allow(missing_docs)]
pub struct Types;
#[derive(Clone, Copy)]
pub struct TypeRef;
impl Types {
    pub fn builtin() -> &'static Types {
        &Types
    }
    pub fn root(&self, _: &str, _: &str, _: &str) -> Option<TypeRef> {
        Some(TypeRef)
    }
    pub fn unknown_fields(&self, _: &serde_json::Value, _: TypeRef) -> Vec<String> {
        vec![]
    }
}
