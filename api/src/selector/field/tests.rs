#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;

#[test]
fn terms_are_read_and_matched() {
    let s = FieldSelector::parse("spec.nodeName!=b,metadata.name==a\\,b\\=c\\\\").unwrap();
    assert_eq!(s.terms.len(), 2);
    assert_eq!(s.required_value("metadata.name"), Some("a,b=c\\"));
    assert_eq!(s.required_value("spec.nodeName"), None);
    let object = |node: &'static str| move |f: &str| if f == "metadata.name" { "a,b=c\\" } else { node };
    assert!(s.matches(object("")));
    assert!(!s.matches(object("b")));
    assert!(FieldSelector::parse("").unwrap().is_everything());
    assert!(FieldSelector::parse(",,").unwrap().is_everything());
}

#[test]
fn objects_are_asked_each_thing_once_and_few_things() {
    let numbered = |n: usize| (0..n).map(|i| format!("a!={i},")).collect::<String>();
    for (text, asked) in [
        ("a!=b,".repeat(20_000), Ok(1)),
        (numbered(256).repeat(2), Ok(256)),
        (numbered(257), Err("must have at most 256 terms, not 257".into())),
    ] {
        assert_eq!(FieldSelector::parse(&text).map(|s| s.terms.len()), asked);
    }
}

#[test]
fn mistakes_are_named() {
    let cases = [
        ("metadata.name", "invalid selector: 'metadata.name'; can't understand 'metadata.name'"),
        ("a=b\\x", "invalid field selector: invalid escape sequence: \\x"),
        ("a=b\\", "invalid field selector: invalid escape sequence: \\"),
        ("a=b=c", "invalid field selector: unescaped character in value: 61"),
    ];
    for (text, error) in cases {
        assert_eq!(FieldSelector::parse(text).unwrap_err(), error, "{text}");
    }
}

proptest! {
    #[test]
    fn any_value_survives_printing(value in ".*") {
        let s = FieldSelector { terms: vec![FieldTerm { field: "a".into(), equals: true, value }] };
        prop_assert_eq!(FieldSelector::parse(&s.to_string()).unwrap(), s);
    }

    #[test]
    fn no_text_panics(text in ".*") {
        let _ = FieldSelector::parse(&text);
    }
}
