use serde_json::json;

use super::*;

#[test]
fn what_could_be_something_else_is_quoted() {
    for text in [
        "4",
        "-1",
        "1.5",
        "1e3",
        "0x1F",
        "0o7",
        "0b1",
        "1_000",
        "12:30:45",
        "2026-11-21T12:00:00Z",
        "2026-11-21",
        "2026-11-21 12:00:00 +1:00",
        ".5",
        ".inf",
        "-.INF",
        ".NaN",
        "+1",
        "yes",
        "No",
        "ON",
        "off",
        "y",
        "N",
        "true",
        "FALSE",
        "null",
        "~",
        "",
        " a",
        "a ",
        "a: b",
        "a:",
        "a #b",
        "#a",
        "*a",
        "&a",
        "!a",
        "- a",
        "-",
        "---",
        "{a",
        "[a",
        "%a",
        "@a",
        "`a",
        "'a",
        "\"a",
        "?",
        "|",
        ">",
        "=",
        "<<",
        "tab\there",
        "bell\u{7}",
        "nel\u{85}",
        "\u{7f}",
    ] {
        let written = document(&json!({"a": text}));
        assert!(written.starts_with("a: \""), "{text:?}: {written}");
    }
    for text in [
        "web",
        "nginx:1.29",
        "a b",
        "10.0.0.1x",
        "v1",
        "1Gi",
        "100m",
        "http://x/y?z=1#k",
        "-a",
        "$(X)",
        "a'b\"c",
    ] {
        assert_eq!(document(&json!({"a": text})), format!("a: {text}\n"));
    }
}

#[test]
fn a_document_reads_back_as_what_it_was() {
    let value = json!({
        "kind": "ConfigMap", "none": null, "yes": true, "4": "4", "n": 4, "f": 1.5, "empty": {}, "list": [],
        "metadata": {"creationTimestamp": "2026-11-21T12:00:00Z", "labels": {"a/b": "", "c: d": "x"}},
        "items": [{"a": [1, [2, [3]], {"b": {"c": []}}]}, "x", [], {}, [["y\nz"]]],
        "data": {
            "a": "one\ntwo", "b": "one\ntwo\n", "c": "one\n\n  two\n\n\n", "d": "\n\nx\n", "e": " x\ny", "f": "\n",
            "g": "a\tb\nc", "h": "#!/bin/sh\nexit 1\n", "i": "x\r\ny", "j": "\u{2028}a\nb", "k": "\u{1f600}", "l": "---\na: b\n",
        },
    });
    let written = document(&value);
    let read = crate::body::yaml::read(written.as_bytes()).unwrap().value;
    assert_eq!(read, value, "{written}");
    let expected = "items:\n- a:\n  - 1\n  - - 2\n    - - 3\n";
    assert!(written.contains(expected), "{written}");
}
