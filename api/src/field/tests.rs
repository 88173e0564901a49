#![allow(clippy::unwrap_used)]
use super::*;

#[test]
fn texts_say_what_upstream_says() {
    let at = Path::new("spec").child("a").index(3).key("k");
    let mut errors = Errors::default();
    errors.invalid(&at, "x", "must not be");
    errors.required(&at, "");
    errors.forbidden(&at, "never");
    errors.not_supported(&at, 1, &["A", "B"]);
    errors.not_supported(&at, 1, &[]);
    errors.duplicate(&at, ["a"]);
    errors.not_found(&at, "y");
    errors.too_long(&at, 3);
    errors.too_many(&at, 4, 3);
    errors.too_many(&at, 4, 1);
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let wanted = [
        "Invalid value: \"x\": must not be",
        "Required value",
        "Forbidden: never",
        "Unsupported value: 1: supported values: \"A\", \"B\"",
        "Unsupported value: 1",
        "Duplicate value: [\"a\"]",
        "Not found: \"y\"",
        "Too long: may not be more than 3 bytes",
        "Too many: 4: must have at most 3 items",
        "Too many: 4: must have at most 1 item",
    ];
    assert_eq!(texts, wanted.map(|text| format!("spec.a[3][k]: {text}")));
}

#[test]
fn what_is_kept_of_errors_is_bounded() {
    let long = "\u{e9}".repeat(100_000);
    let ways: [fn(&mut Errors, &str, usize); 5] = [
        |errors, long, _| errors.invalid(&Path::new("a"), [long, long], "no"),
        |errors, long, _| errors.invalid(&Path::new("a"), 1, long),
        |errors, long, i| errors.required(&Path::new("a").key(long).child(long).index(i), long),
        |errors, long, _| {
            errors.extend({
                let mut other = Errors::default();
                other.duplicate(&Path::new("a").child(long), long);
                other
            })
        },
        |errors, _, i| errors.required(&Path::new("a").index(i), ""),
    ];
    for (i, way) in ways.into_iter().enumerate() {
        let mut errors = Errors::default();
        (0..1000).for_each(|i| way(&mut errors, &long, i));
        assert_eq!(errors.len(), 1000, "{i}: all are counted");
        let length: usize = errors.iter().map(FieldError::length).sum();
        assert!(length < 2 * MAX_TEXT && errors.iter().count() <= MAX_ERRORS, "{i}: {length}");
        let status = crate::status::Status::invalid("Pod", "", "p", &errors);
        assert!(serde_json::to_vec(&status).unwrap().len() < 5 * MAX_TEXT, "{i}");
        let rest = errors.clone().split_off(3);
        assert_eq!(rest.len() + 3 + errors.more(), 1000, "{i}");
    }
}

#[test]
fn errors_are_taken_back() {
    let mut errors = Errors::default();
    let at = Path::new("a");
    (0..MAX_ERRORS + 7).for_each(|i| errors.required(&at.index(i), ""));
    let before = errors.len();
    (0..5).for_each(|_| errors.required(&at, ""));
    assert_eq!(errors.split_off(before), []);
    assert_eq!(errors.len(), before);
    assert_eq!(errors.split_off(2).len(), MAX_ERRORS - 2);
    assert_eq!(errors.len(), 2);
}
