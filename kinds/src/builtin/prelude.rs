//! The words that the rules of kinds are written in.

pub use api::{
    field::{Errors, Path},
    object::ObjectExt,
    validation::*,
};
pub use serde_json::Value;

pub(super) use super::workload;
pub use super::{
    cells::{self, int, text_or},
    defaults::*,
};
pub use crate::kind::{Column, Draft, Facts, Part, Strategy, cell};
