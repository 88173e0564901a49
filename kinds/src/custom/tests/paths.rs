use serde_json::json;

use super::*;
use crate::custom::paths;

#[test]
fn paths_lead_to_values() {
    let value = json!({"a": {"b.c": [{"n": 1, "s": "x"}, {"n": 2}]}, "d": {"e": 1}});
    let find = |path: &str| -> Vec<Value> {
        paths::JsonPath::parse(path).unwrap().find(&value).into_iter().cloned().collect()
    };
    assert_eq!(find(".a.b\\.c[0].n"), [json!(1)]);
    assert_eq!(find(".a['b.c'][-1].n"), [json!(2)]);
    assert_eq!(find(".a.b\\.c[*].n"), [json!(1), json!(2)]);
    assert_eq!(find(".a.b\\.c[?(@.n>1)].n"), [json!(2)]);
    assert_eq!(find(".a.b\\.c[?(@.s)].n"), [json!(1)]);
    assert_eq!(find(".a.b\\.c[0:1].n"), [json!(1)]);
    assert_eq!(find("..e"), [json!(1)]);
    assert!(find(".nope.x").is_empty());
    assert!(paths::JsonPath::parse(".a[").is_err() && paths::JsonPath::parse("a").is_err());
}

#[test]
fn paths_are_bounded() {
    let parse = paths::JsonPath::parse;
    let nested = |n| format!(".{}{}", "[?(@".repeat(n), ")]".repeat(n));
    assert!(parse(&nested(100)).is_ok());
    for text in [nested(20_000), "..".repeat(20_000), "[?(@.a".repeat(20_000)] {
        assert_eq!(parse(&text), Err("must be no longer than 1024 bytes".into()));
    }
    // Each step below everything finds the deeper ones again.
    let deep = (0..110).fold(json!({"end": 1}), |below, _| json!({"a": below}));
    let ends = |path: String| parse(&path).unwrap().find(&deep).len();
    assert_eq!(ends("..a..end".into()), 110);
    assert_eq!(ends(format!("{}..end", "..a".repeat(6))), 0);
    assert_eq!(ends(format!("{}{}", "..[?(@".repeat(20), ")]".repeat(20))), 0);
    // A long list is no reason.
    let wide = json!({"a": vec![json!({"b": "c"}); 20_000]});
    assert_eq!(parse("..b").unwrap().find(&wide).len(), 20_000);
}
