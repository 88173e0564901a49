//! Label and field selectors: parsing, matching, printing.
//!
//! A selector is parsed once and matched against many objects, so matching allocates nothing.
//! Counterpart of upstream's `apimachinery/pkg/labels` and `pkg/fields`, with their error texts.

mod field;
mod label;

pub use field::{FieldSelector, FieldTerm};
pub use label::{LabelSelector, Labels, Operator, Requirement};

/// How many different terms a request's selector may have: each object of a list, each event of a watch is asked all of them.
const MOST_TERMS: usize = 256;
