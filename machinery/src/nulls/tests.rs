use super::*;

/// Passes a text in pieces of `size` bytes.
fn filtered(text: &str, size: usize) -> String {
    let mut filter = Filter::new();
    let mut out: Vec<u8> = text.as_bytes().chunks(size).flat_map(|piece| filter.pass(piece)).collect();
    out.extend(filter.finish());
    String::from_utf8(out).expect("nothing but whole members is taken out")
}

#[test]
fn members_that_are_null_are_absent_however_the_text_is_cut() {
    for (text, expected) in [
        (r#"{}"#, r#"{}"#),
        (r#"{"a":null}"#, r#"{}"#),
        (r#"{"a":null,"b":1}"#, r#"{"b":1}"#),
        (r#"{"b":1,"a":null}"#, r#"{"b":1}"#),
        (r#"{"a":null,"b":null,"c":[null,1],"d":null}"#, r#"{"c":[null,1]}"#),
        (r#"{"a":{"b":null,"c":{"d":null}},"e":2}"#, r#"{"a":{"c":{}},"e":2}"#),
        (r#"{"items":null,"kind":"List"}"#, r#"{"items":[],"kind":"List"}"#),
        (r#"{"kind":"List", "items" : null}"#, r#"{"kind":"List", "items" : []}"#),
        (r#"{"spec":{"items":null}}"#, r#"{"spec":{}}"#),
        (r#"{"a":"null,\"b\":null","c\"":null}"#, r#"{"a":"null,\"b\":null"}"#),
        (r#"{"a":"\\","b":null,"null":"x"}"#, r#"{"a":"\\","null":"x"}"#),
        ("{\"a\":null}\n{\"b\":null,\"c\":3}\n", "{}\n{\"c\":3}\n"),
        (r#"[{"a":null},null]"#, r#"[{},null]"#),
        ("null", "null"),
        // What is no JSON is left for others to refuse.
        (r#"{"a":nul}"#, r#"{"a":nul}"#),
        (r#"{"a":1,}"#, r#"{"a":1,}"#),
        (r#"{"a":nu"#, r#"{"a":nu"#),
        ("not found", "not found"),
    ] {
        for size in [1, 2, 3, 5, text.len()] {
            assert_eq!(filtered(text, size), expected, "{text} in pieces of {size}");
        }
    }
}

#[test]
fn only_json_is_filtered() {
    for (kind, encoding, json) in [
        (Some("application/json"), None, true),
        (Some("application/json;stream=watch"), None, true),
        (Some("application/json"), Some("gzip"), false),
        (Some("text/plain"), None, false),
        (None, None, false),
    ] {
        let mut headers = HeaderMap::new();
        for (name, value) in [(header::CONTENT_TYPE, kind), (header::CONTENT_ENCODING, encoding)] {
            if let Some(value) = value {
                headers.insert(name, value.parse().expect("the test's value is one"));
            }
        }
        assert_eq!(is_json(&headers), json, "{headers:?}");
    }
}
