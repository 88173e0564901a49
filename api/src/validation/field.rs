//! What is asked of one field: to be there, to have a form, to be one of a few, to differ from others.

use std::collections::BTreeSet;

use serde::Serialize;

use super::each;
use crate::field::{Errors, Path};

/// A text that must be there.
pub fn given(text: &str, at: &Path, errors: &mut Errors) {
    if text.is_empty() {
        errors.required(at, "");
    }
}

/// A text that must be there and have a form.
pub fn formed(text: &str, wrong: impl Fn(&str) -> Vec<String>, at: &Path, errors: &mut Errors) {
    given(text, at, errors);
    if !text.is_empty() {
        each(errors, at, text, wrong(text));
    }
}

/// A word that must be one of a few. Nothing is asked where there is none.
pub fn one_of<'a>(word: impl Into<Option<&'a str>>, allowed: &[&str], at: &Path, errors: &mut Errors) {
    if let Some(word) = word.into().filter(|word| !allowed.contains(word)) {
        errors.not_supported(at, word, allowed);
    }
}

/// A word that must be there and be one of a few.
pub fn given_one_of<'a>(word: impl Into<Option<&'a str>>, allowed: &[&str], at: &Path, errors: &mut Errors) {
    let word = word.into().unwrap_or_default();
    given(word, at, errors);
    one_of(Some(word).filter(|word| !word.is_empty()), allowed, at, errors);
}

/// Something of which there may be no other.
pub fn unique<T: Ord + Serialize + Copy>(seen: &mut BTreeSet<T>, value: T, at: &Path, errors: &mut Errors) {
    if !seen.insert(value) {
        errors.duplicate(at, value);
    }
}
