#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;

#[test]
fn only_the_surface_is_read() {
    let text = br#"{"a": {"b": [{"c": 1, "d": {"e": [2]}}], "f": -3}, "g": null, "h": 0.5, "i": "\u00e9"}"#;
    let cases = [
        (1, r#"{"a": null, "g": null, "h": 0.5, "i": "\u00e9"}"#),
        (2, r#"{"a": {"b": [null], "f": -3}, "g": null, "h": 0.5, "i": "\u00e9"}"#),
        (3, r#"{"a": {"b": [{"c": 1, "d": null}], "f": -3}, "g": null, "h": 0.5, "i": "\u00e9"}"#),
        (4, std::str::from_utf8(text).unwrap()),
    ];
    for (depth, expected) in cases {
        assert_eq!(shallow(text, depth, "").unwrap(), parse(expected.as_bytes()).unwrap(), "{depth}");
    }
    let without = r#"{"g": null, "h": 0.5, "i": "\u00e9"}"#;
    assert_eq!(shallow(text, 3, "a").unwrap(), parse(without.as_bytes()).unwrap());
    assert_eq!(shallow(text, 3, "b").unwrap(), shallow(text, 3, "").unwrap());
    assert!(shallow(br#"{"a": {"b": "#, 1, "").is_err());
}

#[test]
fn mistakes_come_in_the_order_of_the_text() {
    let types = Types::builtin();
    let root = types.root("", "v1", "Pod").unwrap();
    let body = br#"{"zzz": 1, "metadata": {"labels": {"a": "1", "a": "2"}, "name": "x", "name": "y"},
            "spec": {"containers": [{}, {"nam": 1, "name": "a", "name": "b"}]}, "aaa": {"b": 1, "b": 2}}"#;
    let (value, problems) = parse_strict(body, Some((types, root))).unwrap();
    assert_eq!(
        problems,
        [
            "unknown field \"zzz\"",
            "duplicate field \"metadata.labels.a\"",
            "duplicate field \"metadata.name\"",
            "unknown field \"spec.containers[1].nam\"",
            "duplicate field \"spec.containers[1].name\"",
            "unknown field \"aaa\"",
            "duplicate field \"aaa.b\"",
        ]
    );
    assert_eq!(value["metadata"]["name"], "y");
    assert_eq!(value, parse(body).unwrap());
}

#[test]
fn broken_bodies_are_refused() {
    let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    for (body, start) in [
        (&b"{\"apiVersion\":"[..], "unexpected end of JSON input"),
        (b"", "unexpected end of JSON input"),
        (b"{a: 1}", "invalid character 'a' looking for beginning of object key string"),
        (b"{\"a\": 1} x", "invalid character 'x' after top-level value"),
        (&deep, "invalid JSON: recursion limit exceeded"),
    ] {
        let error = parse(body).unwrap_err();
        assert!(error.to_string().starts_with(start), "{error}");
        assert!(parse_strict(body, None).is_err());
    }
}

proptest! {
    #[test]
    fn both_ways_of_reading_agree(value in crate::schema::tests::any_json()) {
        let text = serde_json::to_vec(&value).unwrap();
        let (strict, problems) = parse_strict(&text, None).unwrap();
        prop_assert_eq!(&strict, &parse(&text).unwrap());
        prop_assert!(problems.is_empty());
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), text in "[\\[\\]{}\",:a0-9.e-]{0,32}") {
        let _ = parse(&bytes);
        prop_assert_eq!(parse(text.as_bytes()).is_ok(), parse_strict(text.as_bytes(), None).is_ok());
    }
}
