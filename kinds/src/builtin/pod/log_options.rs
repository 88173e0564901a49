//! What a request for a container's log may ask for.
//!
//! Numbers that are none are left to the kubelet. Counterpart of `ValidatePodLogOptions` in upstream's
//! `pkg/apis/core/validation`.

use api::{
    field::{Errors, Path},
    status::Status,
    validation::NOT_NEGATIVE,
};

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
mod tests {
    use super::*;

    #[test]
    fn less_than_nothing_cannot_be_shown() {
        let told = |query: &[(&str, &'static str)]| {
            let option = |name: &str| query.iter().find(|(n, _)| *n == name).map(|(_, value)| *value);
            check("p", option).map_err(|status| (status.code, status.message))
        };
        assert_eq!(told(&[("tailLines", "0"), ("limitBytes", "1"), ("sinceSeconds", "1")]), Ok(()));
        let refused = |words: &str| Err((422, format!("PodLogOptions \"p\" is invalid: {words}")));
        assert_eq!(
            told(&[("tailLines", "-1")]),
            refused("tailLines: Invalid value: -1: must be greater than or equal to 0")
        );
        assert_eq!(
            told(&[("limitBytes", "0"), ("sinceSeconds", "0")]),
            refused(
                "[limitBytes: Invalid value: 0: must be greater than 0, sinceSeconds: Invalid value: 0: must be greater than 0]"
            )
        );
        assert_eq!(
            told(&[("sinceSeconds", "1"), ("sinceTime", "2026-01-01T00:00:00Z")]),
            refused("[]: Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified")
        );
    }
}
