#![allow(clippy::unwrap_used)]
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use serde_json::json;

use super::*;

fn value(text: &str) -> Result<Value, String> {
    read(text.as_bytes()).map(|read| read.value).map_err(String::from)
}

/// What `sigs.k8s.io/yaml`, of the same release as Kubernetes, makes of texts, one a line.
const AS_GO: &str = include_str!("as_go.jsonl");

#[test]
fn texts_are_what_they_are_to_go() {
    let mut different = Vec::new();
    for line in AS_GO.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let text = row["yaml"].as_str().unwrap();
        let wanted = match row["json"].as_str() {
            Some(json) => Ok(serde_json::from_str::<Value>(json).unwrap()),
            None => Err(api::Message::from(row["error"].as_str().unwrap())),
        };
        let read = read(text.as_bytes());
        let doubled = read.as_ref().ok().and_then(|read| read.doubled.as_deref());
        if doubled != row["strict"].as_str() {
            different.push(format!("{text:?}: {doubled:?} is not {}", row["strict"]));
        }
        let read = read.map(|read| read.value);
        // Go shows keys that are none as it shows its own values.
        let is_begun = |ours: &str, all: &str| ours.contains("map key") && all.starts_with(ours);
        let is_shorter = matches!((&read, &wanted), (Err(ours), Err(all)) if is_begun(ours, all));
        if read != wanted && !is_shorter {
            different.push(format!("{text:?}: {read:?} is not {wanted:?}"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn texts_are_read_in_three_encodings() {
    let wide: Vec<u8> = "\u{feff}a: \u{1f980}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(read(&wide).unwrap().value, json!({"a": "\u{1f980}"}));
    for (bytes, wanted) in [
        (&b"a: \xff"[..], "yaml: invalid leading UTF-8 octet"),
        (b"a: \xc3(", "yaml: invalid trailing UTF-8 octet"),
        (b"a: \xc3", "yaml: incomplete UTF-8 octet sequence"),
        (b"\xff\xfea", "yaml: incomplete UTF-16 character"),
    ] {
        assert_eq!(read(bytes).unwrap_err(), wanted);
    }
}

#[test]
fn what_the_parser_stumbles_over_is_refused() {
    assert_eq!(value("a: [!b, c]"), Err("yaml: unknown problem parsing YAML content".into()));
}

/// The parser is a little younger than Go's.
#[test]
fn more_is_taken_than_go_takes() {
    assert_eq!(value("{a: b?c}"), Ok(json!({"a": "b?c"})));
    assert_eq!(value("a: \"\\/\""), Ok(json!({"a": "/"})));
}

#[test]
fn depth_and_what_aliases_repeat_are_bounded() {
    let laughs = |each: usize, levels: usize| {
        let mut text = "a0: &a0 x\n".to_owned();
        for level in 1..=levels {
            let below = format!("*a{}, ", level - 1).repeat(each);
            text += &format!("a{level}: &a{level} [{below}]\n");
        }
        text
    };
    let merges: String = (1..2000).map(|i| format!("a{i}: &a{i} {{<<: *a{}, k{i}: 1}}\n", i - 1)).collect();
    let long = format!("a: &a '{}'\nb: [{}]\n", "x".repeat(100_000), "*a, ".repeat(99));
    for (what, text) in [
        ("flow", format!("a: {}", "[".repeat(100_000))),
        ("flow maps", format!("a: {}", "{a: ".repeat(100_000))),
        ("flow keys", format!("a: {}", "{[".repeat(100_000))),
        ("lines of flow", format!("a: {}", "[\n".repeat(100_000))),
        ("block", "- ".repeat(100_000)),
        ("block maps", (0..3000).map(|i| format!("{}a:\n", " ".repeat(i))).collect()),
        ("block keys", "? ".repeat(100_000)),
        ("laughs", laughs(9, 9)),
        ("few laughs", laughs(2, 100)),
        ("merges", format!("a0: &a0 {{k: 1}}\n{merges}")),
        ("long", long),
        ("tags", format!("%TAG !a! {}\n---\n- !a!b", "x".repeat(1_000_000))),
        ("directives", format!("{}---\na: b", "%TAG !a! x\n".repeat(100_000))),
        (
            "chain",
            (0..200).fold("a0: &a0 x\n".to_owned(), |t, i| format!("{t}a{}: &a{} [*a{i}]\n", i + 1, i + 1)),
        ),
    ] {
        let started = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap();
        let refused = value(&text).unwrap_err();
        let took = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap() - started;
        assert!(refused.starts_with("yaml: "), "{what}: {refused}");
        // Without optimizations.
        assert!(Duration::from(took) < Duration::from_secs(2), "{what}: {took:?}");
        assert!(refused.len() < 200, "{what}: {refused}");
    }
    assert!(value(&laughs(10, 2)).is_ok());
    let deep = format!("a: {}{}", "[".repeat(MAX_DEPTH - 1), "]".repeat(MAX_DEPTH - 1));
    assert!(value(&deep).is_ok());
}
