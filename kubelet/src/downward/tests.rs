use super::*;

#[test]
fn texts_are_quoted_as_go_does() {
    for (text, expected) in [
        ("it's plain", r#""it's plain""#),
        ("a \"b\" \\", r#""a \"b\" \\""#),
        ("\0\x07\x08\t\n\x0b\x0c\r\x1b[1m\x7f", r#""\x00\a\b\t\n\v\f\r\x1b[1m\x7f""#),
        ("\u{e4}e\u{301}\u{4e16}\u{1f980}", "\"\u{e4}e\u{301}\u{4e16}\u{1f980}\""),
        ("\u{80}\u{a0}\u{200b}\u{feff}\u{e0001}", r#""\u0080\u00a0\u200b\ufeff\U000e0001""#),
    ] {
        assert_eq!(quoted(text), expected);
    }
}
