//! Field selectors: `metadata.name=x,spec.nodeName!=y`, with `\\`, `\,` and `\=` as escapes in values.
//!
//! Which fields a kind offers is the kind's business; here a term is a name, a value and a direction.

use std::fmt;

use super::MOST_TERMS;
use crate::{Message, message};

/// One comparison of a field selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldTerm {
    /// The field's name, e.g. `metadata.name`.
    pub field: String,
    /// True for `=` and `==`, false for `!=`.
    pub equals: bool,
    /// What the field is compared with, unescaped.
    pub value: String,
}

/// Terms that must all hold. No terms select everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSelector {
    /// The terms, in the order of their text.
    pub terms: Vec<FieldTerm>,
}

impl FieldSelector {
    /// The selector that selects everything.
    pub fn everything() -> Self {
        Self::default()
    }

    /// True when nothing is asked of the object.
    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// Reads a selector from its text form; what is said again adds nothing.
    ///
    /// # Errors
    /// In upstream's words; and for more than 256 terms: every object is asked all of them.
    pub fn parse(text: &str) -> Result<Self, Message> {
        let mut parts = split_terms(text);
        parts.sort_unstable();
        parts.dedup();
        let mut terms = Vec::new();
        for part in parts.into_iter().filter(|p| !p.is_empty()) {
            let Some((field, operator, value)) = split_term(part) else {
                return Err(message!("invalid selector: '{text}'; can't understand '{part}'"));
            };
            terms.push(FieldTerm {
                field: field.to_owned(),
                equals: operator != "!=",
                value: unescape(value)?,
            });
        }
        match terms.len() {
            0..=MOST_TERMS => Ok(Self { terms }),
            more => Err(message!("must have at most {MOST_TERMS} terms, not {more}")),
        }
    }

    /// Whether every term holds; `lookup` gives a field's value ("" when it is not set).
    pub fn matches<'a>(&self, lookup: impl Fn(&str) -> &'a str) -> bool {
        self.terms.iter().all(|t| (lookup(&t.field) == t.value) == t.equals)
    }

    /// The value that `field` must have, if a term pins it.
    pub fn required_value(&self, field: &str) -> Option<&str> {
        self.terms.iter().find(|t| t.equals && t.field == field).map(|t| t.value.as_str())
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, term) in self.terms.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let operator = if term.equals { "=" } else { "!=" };
            write!(f, "{comma}{}{operator}{}", term.field, escape(&term.value))?;
        }
        Ok(())
    }
}

/// Splits at commas that no backslash precedes.
fn split_terms(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

/// Splits at the first operator.
fn split_term(term: &str) -> Option<(&str, &str, &str)> {
    term.char_indices().find_map(|(i, _)| {
        ["!=", "==", "="]
            .into_iter()
            .find(|op| term[i..].starts_with(op))
            .map(|op| (&term[..i], op, &term[i + op.len()..]))
    })
}

fn unescape(value: &str) -> Result<String, Message> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(e @ ('\\' | ',' | '=')) => out.push(e),
                other => {
                    let sequence: String = std::iter::once('\\').chain(other).collect();
                    return Err(message!("invalid field selector: invalid escape sequence: {sequence}"));
                }
            },
            ',' | '=' => {
                return Err(message!(
                    "invalid field selector: unescaped character in value: {}",
                    u32::from(c)
                ));
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '\\' | ',' | '=') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests;
