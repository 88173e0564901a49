use proptest::prelude::*;

use super::*;

#[test]
fn the_words_are_those_of_go() {
    for (text, expected) in [
        ("", "unexpected end of JSON input"),
        ("{\"a\": [1, ", "unexpected end of JSON input"),
        ("not", "invalid character 'o' in literal null (expecting 'u')"),
        ("{} tail", "invalid character 't' after top-level value"),
        ("{a: 1}", "invalid character 'a' looking for beginning of object key string"),
        ("{\"a\": 1,}", "invalid character '}' looking for beginning of object key string"),
        ("{\"a\" 1}", "invalid character '1' after object key"),
        ("{\"a\": 1 \"b\"}", "invalid character '\"' after object key:value pair"),
        ("[1 2]", "invalid character '2' after array element"),
        ("[1,]", "invalid character ']' looking for beginning of value"),
        ("<a>", "invalid character '<' looking for beginning of value"),
        ("\"\n\"", r"invalid character '\n' in string literal"),
        (r#""\x""#, "invalid character 'x' in string escape code"),
        (r#""\u12g4""#, r"invalid character 'g' in \u hexadecimal character escape"),
        ("-x", "invalid character 'x' in numeric literal"),
        ("1.x", "invalid character 'x' after decimal point in numeric literal"),
        ("1e'", r"invalid character '\'' in exponent of numeric literal"),
        ("01", "invalid character '1' after top-level value"),
    ] {
        assert_eq!(mistake(text.as_bytes()).as_deref(), Some(expected), "{text}");
    }
    assert_eq!(
        mistake(&[0x81]).as_deref(),
        Some(r"invalid character '\u0081' looking for beginning of value")
    );
    assert_eq!(mistake(&[b"[".repeat(100_000), b"]".repeat(100_000)].concat()), None);
}

proptest! {
    #[test]
    fn what_is_json_is_left_alone(value in crate::schema::tests::any_json()) {
        prop_assert_eq!(mistake(value.to_string().as_bytes()), None);
    }

    #[test]
    fn what_is_none_is_not(text in "[\\[\\]{}:,\"a1 e.\\-]{0,12}") {
        let is_json = serde_json::from_str::<serde_json::Value>(&text).is_ok();
        let is_number_too_large = text.contains('e');
        prop_assert!(is_number_too_large || mistake(text.as_bytes()).is_none() == is_json, "{}", text);
    }
}
