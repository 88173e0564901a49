//! What is asked of one field: to be there, to have a form, to be one of a few, to differ from others.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{dns_subdomain, each};
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

/// `example.com/path`: a domain, and what may stand in a path.
pub fn domain_prefixed_path(text: &str, at: &Path, errors: &mut Errors) {
    if text.is_empty() {
        return errors.required(at, "");
    }
    let Some((domain, path)) =
        text.split_once('/').filter(|(domain, path)| !domain.is_empty() && !path.is_empty())
    else {
        return errors.invalid(at, text, "must be a domain-prefixed path (such as \"acme.io/foo\")");
    };
    each(errors, at, domain, dns_subdomain(domain));
    let in_path = |c: char| c.is_ascii_alphanumeric() || "/-._~%!$&'()*+,;=:".contains(c);
    if !path.chars().all(in_path) {
        let why = r"Invalid path (regex used for validation is '[A-Za-z0-9/\-._~%!$&'()*+,;=:]+')";
        errors.invalid(at, path, why);
    }
}

/// Something of which there may be no other.
pub fn unique<T: Ord + Serialize + Copy>(seen: &mut BTreeSet<T>, value: T, at: &Path, errors: &mut Errors) {
    if !seen.insert(value) {
        errors.duplicate(at, value);
    }
}
