//! What a request for a container's log may ask for.
//!
//! Numbers that are none are left to the kubelet. Counterpart of `ValidatePodLogOptions` in upstream's
//! `pkg/apis/core/validation`.

use api::status::Status;

use crate::builtin::prelude::*;

/// Checks the options in a query.
///
/// # Errors
/// 422.
pub fn check<'a>(pod: &str, option: impl Fn(&str) -> Option<&'a str>) -> Result<(), Status> {
    let mut errors = Errors::default();
    let number = |name: &str| option(name).and_then(|text| text.parse::<i64>().ok());
    let at_least = |name: &str, least: i64, words: &str, errors: &mut Errors| {
        if let Some(n) = number(name).filter(|n| *n < least) {
            errors.invalid(&Path::new(name), n, words);
        }
    };
    at_least("tailLines", 0, NOT_NEGATIVE, &mut errors);
    at_least("limitBytes", 1, "must be greater than 0", &mut errors);
    if option("sinceSeconds").is_some() && option("sinceTime").is_some() {
        let words = "at most one of `sinceTime` or `sinceSeconds` may be specified";
        errors.forbidden(&Path::new("[]"), words);
    } else {
        at_least("sinceSeconds", 1, "must be greater than 0", &mut errors);
    }
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid("PodLogOptions", "", pod, &errors)) }
}

#[cfg(test)]
mod tests;
