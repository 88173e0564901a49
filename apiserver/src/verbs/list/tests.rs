use super::*;

#[test]
fn strange_tokens_are_refused_in_upstreams_words() {
    let token = Token::new(5, "a/b\0");
    assert_eq!(Token::decode(&token.encode()).expect("is a token").start, "a/b\0");
    // `{"v":"meta.k8s.io/v1","rv":5,"start":"a/b\u0000"}`
    let upstreams = "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6NSwic3RhcnQiOiJhL2JcdTAwMDAifQ";
    assert_eq!(token.encode(), upstreams);
    let encoded = |rv, start| Token::new(rv, start).encode();
    for (text, why) in [
        ("!!!", "illegal base64 data at input byte 0"),
        ("abcde", "illegal base64 data at input byte 4"),
        ("garbage", "invalid character '\\u0081' looking for beginning of value"),
        ("e30", "server does not recognize this encoded version "),
        (&encoded(0, "a"), "incorrect encoded start resourceVersion (version meta.k8s.io/v1)"),
        (&encoded(1, ""), "encoded start key empty (version meta.k8s.io/v1)"),
        (&encoded(1, "../a"), "../a"),
        (&encoded(1, "a/../../b"), "a/../../b"),
        (&encoded(1, "a//b"), "a//b"),
        (&encoded(-1, "a/"), "a/"),
        (&BASE64.encode("null"), "server does not recognize this encoded version "),
        (&BASE64.encode("[]"), "json: cannot unmarshal array into Go value of type storage.continueToken"),
        (
            &BASE64.encode(r#"{"v":1}"#),
            "json: cannot unmarshal number into Go struct field continueToken.v of type string",
        ),
        (
            &BASE64.encode(r#"{"rv":1.5}"#),
            "json: cannot unmarshal number 1.5 into Go struct field continueToken.rv of type int64",
        ),
        (&BASE64.encode(r#"{"v":"meta"#), "unexpected end of JSON input"),
        (&BASE64.encode("{} x"), "invalid character 'x' after top-level value"),
    ] {
        let refused = Token::decode(text).expect_err("is none").message;
        assert_eq!(refused, format!("invalid continue token: continue key is not valid: {why}"));
    }
}

#[test]
fn items_stand_where_the_list_is() {
    let empty = head("AList", "v1", &json!({"continue": "\"items\":[]", "resourceVersion": "7"}));
    for (is_yaml, items) in [(false, &["1", "2"][..]), (false, &[]), (true, &["- 1\n", "- 2\n"]), (true, &[])]
    {
        let (before, between, behind) = around(&empty, "items", !items.is_empty(), is_yaml);
        let text = format!("{before}{}{behind}", items.join(between));
        let mut whole = empty.clone();
        whole["items"] = json!(if items.is_empty() { vec![] } else { vec![1, 2] });
        let expected = if is_yaml { response::yaml_text(&whole) } else { whole.to_string() };
        assert_eq!(text, expected);
    }
}
