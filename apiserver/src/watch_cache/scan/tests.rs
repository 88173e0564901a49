use super::*;

fn labels(json: &str) -> Option<Vec<(String, String)>> {
    let found = scan(json.as_bytes())?;
    Some(found.labels.into_iter().map(|(k, v)| (k.into(), v.into())).collect())
}

#[test]
fn finds_metadata_wherever_it_stands() {
    for (json, at) in [
        (r#"{"metadata":{"name":"a"}}"#, 13),
        (r#"{"kind":"X","metadata":{"name":"a"}}"#, 24),
        (
            r#"{ "data" : {"metadata":{"labels":{"a":"b"}}, "x":[1,-2.5e3,{"y":null}]} , "metadata" : {} }"#,
            88,
        ),
        (r#"{"a":"\"metadata\":{","b":true,"metadata":{}}"#, 43),
        (r#"{"n":12,"metadata":{"labels":null}}"#, 20),
    ] {
        let found = scan(json.as_bytes()).unwrap_or_else(|| panic!("{json}"));
        assert_eq!(found.metadata, at, "{json}");
        assert_eq!(&json[at - 1..at], "{", "{json}");
        assert!(found.labels.is_empty(), "{json}");
    }
}

#[test]
fn reads_labels() {
    let json = r#"{"metadata":{"annotations":{"x":"{\"labels\":1}"},"labels":{"b":"2","a":"1"},"name":"n"}}"#;
    assert_eq!(labels(json), Some(vec![("a".into(), "1".into()), ("b".into(), "2".into())]));
    assert_eq!(
        labels(r#"{"metadata":{"labels":{"q\/r":"\u00e9"}}}"#),
        Some(vec![("q/r".into(), "é".into())])
    );
}

#[test]
fn refuses_what_is_no_object() {
    for json in
        ["", "1", "null", "[]", "{}", "k8s\0\n", r#"{"metadata":null}"#, r#"{"metadata":{"#, r#"{"a":}"#]
    {
        assert_eq!(scan(json.as_bytes()), None, "{json}");
    }
}
