#![allow(clippy::unwrap_used)]
use super::*;

#[test]
fn patterns_mean_what_go_takes_them_for() {
    for (pattern, text, expected) in [
        (r"^\d+$", "123", true),
        (r"^\d+$", "١٢٣", false),
        (r"^[\w.-]+$", "a_b.c-1", true),
        (r"^[\w.-]+$", "é", false),
        (r"^.$", "é", true),
        (r"^[[]$", "[", true),
        (r"^[]]$", "]", true),
        (r"^[^]]$", "a", true),
        (r"^[[:alpha:]_]+$", "ab_", true),
        (r"^[a&&b]+$", "a&b", true),
        (r"\bfoo\b", "a foo b", true),
        (r"(?i)ABC", "xabc", true),
        (r"^\Qa.b\E+$", "a.bb", true),
        (r"^\Qa\\E[0]\Q.", "a\\0.", true),
        (r"^\pL+$", "äb", true),
        (r"^(\d+(\.\d+)?%)$", "12.5%", true),
    ] {
        assert_eq!(compile(pattern).unwrap().is_match(text), expected, "{pattern} on {text}");
    }
    assert!(compile(&r"\Q.\E".repeat(20_000)).unwrap().is_match(&".".repeat(20_000)));
    assert!(compile("(").is_err());
    assert!(compile("[a").is_err());
}
