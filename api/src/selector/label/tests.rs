#![allow(clippy::unwrap_used)]
use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn selectors_choose_by_labels() {
    let labels: BTreeMap<String, String> = [("app", "web"), ("tier", ""), ("n", "5"), ("x.io/in", "in")]
        .map(|(k, v)| (k.into(), v.into()))
        .into();
    let cases = [
        ("", true),
        ("app", true),
        ("!app", false),
        ("! nope", true),
        ("app=web", true),
        ("app==web,tier=", true),
        ("app = db", false),
        ("app!=db", true),
        ("nope!=db", true),
        ("app in (db, web)", true),
        ("app in (db)", false),
        ("app notin (db)", true),
        ("nope notin (db)", true),
        ("tier in ()", true),
        ("tier in (,a)", true),
        ("tier in (a,)", true),
        ("n>4,n<6", true),
        ("n>5", false),
        ("app>5", false),
        ("x.io/in in (in)", true),
        ("x.io/in=in", true),
    ];
    for (text, expected) in cases {
        assert_eq!(LabelSelector::parse(text).unwrap().matches(&labels), expected, "{text}");
    }
}

#[test]
fn objects_are_asked_each_thing_once_and_few_things() {
    let numbered = |n: usize| (0..n).map(|i| format!("!a{i}")).collect::<Vec<_>>().join(",");
    for (text, asked) in [
        ("!a,".repeat(20_000) + "!a", Ok(1)),
        ("b=1,!a,b=1,b==1,!a".into(), Ok(3)),
        (numbered(256), Ok(256)),
        (format!("{0},{0}", numbered(256)), Ok(256)),
        (numbered(257), Err("must have at most 256 requirements, not 257".into())),
    ] {
        assert_eq!(LabelSelector::parse(&text).map(|s| s.requirements().len()), asked, "{}", cut(&text, 40));
    }
    let again = json!({"matchExpressions": vec![json!({"key": "a", "operator": "Exists"}); 1000]});
    assert_eq!(LabelSelector::from_value(Some(&again)).unwrap().requirements().len(), 1);
}

#[test]
fn mistakes_are_named() {
    let cases = [
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a in (", "unable to parse requirement: found '', expected: ',', ')' or identifier"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        ("a,", "found '', expected: identifier after ','"),
        ("=a", "found '=', expected: !, identifier, or 'end of string'"),
        ("a==!b", "unable to parse requirement: found '!', expected: identifier"),
        ("!a=b", "found '=', expected: ',' or 'end of string'"),
        (
            "a>b",
            "unable to parse requirement: values[0]: Invalid value: \"b\": for 'Gt', 'Lt' operators, the value \
             must be an integer",
        ),
    ];
    for (text, error) in cases {
        assert_eq!(LabelSelector::parse(text).unwrap_err(), error, "{text}");
    }
    let bad_key = LabelSelector::parse("a_=b").unwrap_err();
    assert!(bad_key.starts_with("unable to parse requirement: <nil>: Invalid value: \"a_\": name part must"));
    let bad_value = LabelSelector::parse("a=b_").unwrap_err();
    assert!(
        bad_value.starts_with("unable to parse requirement: values[0][a]: Invalid value: \"b_\": a valid")
    );
}

#[test]
fn objects_become_selectors() {
    let labels = json!({"a": "b", "c": "d"});
    let labels = labels.as_object();
    let cases = [
        (json!(null), false),
        (json!({}), true),
        (json!({"matchLabels": {"a": "b"}}), true),
        (json!({"matchLabels": {"a": "x"}}), false),
        (json!({"matchExpressions": [{"key": "c", "operator": "In", "values": ["d", "e"]}]}), true),
        (json!({"matchExpressions": [{"key": "c", "operator": "NotIn", "values": ["d"]}]}), false),
        (json!({"matchExpressions": [{"key": "z", "operator": "DoesNotExist"}]}), true),
        (json!({"matchExpressions": [{"key": "z", "operator": "Exists"}]}), false),
    ];
    for (selector, expected) in cases {
        let s = LabelSelector::from_value(Some(&selector)).unwrap();
        assert_eq!(s.matches(&labels), expected, "{selector}");
    }
    let wrong = json!({"matchExpressions": [{"key": "z", "operator": "Near"}]});
    assert_eq!(
        LabelSelector::from_value(Some(&wrong)).unwrap_err(),
        "\"Near\" is not a valid label selector operator"
    );
}

#[test]
fn printing_is_stable() {
    let s = LabelSelector::parse("z notin (b,a), a == 1 ,!q,x in (y)").unwrap();
    assert_eq!(s.to_string(), "a==1,!q,x in (y),z notin (a,b)");
}

proptest! {
    #[test]
    fn no_text_panics(text in "[ab=!(),<> inot]{0,24}|.*") {
        if let Ok(s) = LabelSelector::parse(&text) {
            prop_assert_eq!(&LabelSelector::parse(&s.to_string()).unwrap().to_string(), &s.to_string());
        }
    }
}
