//! Keys that a map in YAML has twice, in the words of Go's strict reader, which names lines.

/// The complaint about all of them; `None` when there are none.
pub fn doubled_keys(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let names = api::json::doubled_keys(serde_yaml_ng::Deserializer::from_str(&text));
    let lines = names
        .iter()
        .map(|name| format!("\n  line {}: key {name:?} already set in map", second_line(&text, name)));
    (!names.is_empty()).then(|| format!("yaml: unmarshal errors:{}", lines.collect::<String>()))
}

/// The line of a key that stands a second time in its map, as far as lines tell; the first line for maps in braces.
fn second_line(text: &str, key: &str) -> usize {
    // The indentations of maps in which the key was seen.
    let mut seen: Vec<usize> = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let content = line.trim_start();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let mut indent = line.len() - content.len();
        let mut content = content;
        seen.retain(|at| *at <= indent);
        while let Some(item) = content.strip_prefix("- ") {
            // A new item is a new map.
            seen.retain(|at| *at <= indent);
            let inner = item.trim_start();
            indent += content.len() - inner.len();
            content = inner;
        }
        let plain = content.strip_prefix(['"', '\'']).unwrap_or(content);
        let rest = plain.strip_prefix(key).map(|rest| rest.trim_start_matches(['"', '\'']).trim_start());
        if rest.is_some_and(|rest| rest.starts_with(':')) {
            if seen.contains(&indent) {
                return i + 1;
            }
            seen.push(indent);
        }
    }
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_of_two_keys_is_named_by_its_line() {
        for (text, wanted) in [
            ("a: 1\nb: 2", None),
            ("a: 1\n# a: 3\nb:\n  a: 2\na: 4", Some("line 5: key \"a\" already set in map")),
            ("x:\n- a: 1\n- a: 2\n  b: 1\n  a: 3", Some("line 5: key \"a\" already set in map")),
            ("x:\n  \"k\": 1\ny:\n  k: 1\n  z: 2\n  k: 3", Some("line 6: key \"k\" already set in map")),
            ("{a: 1, a: 2}", Some("line 1: key \"a\" already set in map")),
        ] {
            let wanted = wanted.map(|line| format!("yaml: unmarshal errors:\n  {line}"));
            assert_eq!(doubled_keys(text.as_bytes()), wanted, "{text}");
        }
    }
}
