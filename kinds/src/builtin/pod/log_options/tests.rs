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
