#![allow(missing_docs)]
pub struct Parsed {
    pub value: serde_json::Value,
    pub duplicates: Vec<String>,
}
pub fn parse(b: &[u8], _: bool) -> Result<Parsed, serde_json::Error> {
    Ok(Parsed { value: serde_json::from_slice(b)?, duplicates: vec![] })
}
