//! Regular expressions as Go's `regexp` reads them.
//!
//! The syntax of the `regex` crate is nearly the same; where it differs (`\d` is ASCII, `[` inside a class is
//! a letter) a pattern is translated.

use api::Message;
use std::{cell::RefCell, collections::HashMap};

use regex::{Regex, RegexBuilder};

/// The most memory a compiled pattern may take.
const MAX_SIZE: usize = 4 << 20;
/// How many patterns a thread remembers.
const MOST_KNOWN: usize = 64;

/// Compiles a pattern; the error is a sentence about what is wrong with it.
pub fn compile(pattern: &str) -> Result<Regex, Message> {
    RegexBuilder::new(&translate(pattern)).size_limit(MAX_SIZE).build().map_err(|error| {
        let text = error.to_string();
        // The last line holds the reason, the ones before show the place.
        text.lines().last().unwrap_or(&text).trim_start_matches("error: ").into()
    })
}

/// [`compile`], remembering what this thread compiled last: rules match the same patterns over and over.
pub fn cached(pattern: &str) -> Result<Regex, Message> {
    KNOWN.with_borrow_mut(|known| {
        if let Some(regex) = known.get(pattern) {
            return Ok(regex.clone());
        }
        let regex = compile(pattern)?;
        if known.len() >= MOST_KNOWN {
            known.clear();
        }
        known.insert(pattern.to_owned(), regex.clone());
        Ok(regex)
    })
}

thread_local! {
    static KNOWN: RefCell<HashMap<String, Regex>> = RefCell::default();
}

fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut chars = pattern.chars().peekable();
    let mut class = false;
    let mut class_start = false;
    while let Some(c) = chars.next() {
        let at_start = std::mem::take(&mut class_start);
        match c {
            '\\' => match chars.next() {
                Some('d') => out.push_str(if class { "0-9" } else { "[0-9]" }),
                Some('w') => out.push_str(if class { "0-9A-Za-z_" } else { "[0-9A-Za-z_]" }),
                Some('s') => out.push_str(if class { r"\t\n\f\r " } else { r"[\t\n\f\r ]" }),
                Some('D') => out.push_str("[^0-9]"),
                Some('W') => out.push_str("[^0-9A-Za-z_]"),
                Some('S') => out.push_str(r"[^\t\n\f\r ]"),
                Some('b') if !class => out.push_str(r"(?-u:\b)"),
                Some('B') if !class => out.push_str(r"(?-u:\B)"),
                Some('Q') if !class => {
                    let mut literal = String::new();
                    while let Some(c) = chars.next() {
                        if c == '\\' && chars.next_if_eq(&'E').is_some() {
                            break;
                        }
                        literal.push(c);
                    }
                    out.push_str(&regex::escape(&literal));
                }
                Some(other) => {
                    out.push('\\');
                    out.push(other);
                }
                None => out.push('\\'),
            },
            '[' if !class => {
                class = true;
                class_start = true;
                out.push('[');
                if chars.peek() == Some(&'^') {
                    chars.next();
                    out.push('^');
                }
            }
            '[' if chars.peek() == Some(&':') => out.push('['),
            '[' => out.push_str("\\["),
            ']' if class && at_start => out.push_str("\\]"),
            // `[:alpha:]` ends with a bracket of its own.
            ']' if class
                && out.ends_with(':')
                && out.rfind("[:").is_some_and(|at| is_named_class(&out[at..])) =>
            {
                out.push(']');
            }
            ']' => {
                class = false;
                out.push(']');
            }
            '&' | '~' if class => {
                out.push('\\');
                out.push(c);
            }
            '-' if class && chars.peek() == Some(&'-') => out.push_str("\\-"),
            other => out.push(other),
        }
    }
    out
}

fn is_named_class(text: &str) -> bool {
    let name = text.trim_start_matches("[:").trim_start_matches('^').trim_end_matches(':');
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase())
}

#[cfg(test)]
mod tests;
