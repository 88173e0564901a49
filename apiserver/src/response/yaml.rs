//! JSON values in YAML that every reader takes for the same values.
//!
//! Invariant: a string stands without quotes only where neither YAML 1.1 nor 1.2 takes it for something else.
//! Counterpart of upstream's `sigs.k8s.io/yaml`.

use serde_json::Value;

/// A value as a document.
pub fn document(value: &Value) -> String {
    let mut out = String::new();
    node(value, 0, &mut out);
    out
}

/// Writes a value behind what names it; maps and lists that hold something begin on a line of their own.
fn after_name(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            node(value, indent + 2, out);
        }
        // Items stand below their name, not further in.
        Value::Array(list) if !list.is_empty() => {
            out.push('\n');
            node(value, indent, out);
        }
        _ => {
            out.push(' ');
            scalar(value, indent, out);
        }
    }
}

/// Writes a value from the beginning of a line.
fn node(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => fields(map, indent, false, out),
        Value::Array(list) if !list.is_empty() => items(list, indent, false, out),
        _ => scalar(value, indent, out),
    }
}

/// `begun`: the first line has its indentation already.
fn fields(map: &serde_json::Map<String, Value>, indent: usize, begun: bool, out: &mut String) {
    for (i, (name, value)) in map.iter().enumerate() {
        if i > 0 || !begun {
            out.extend(std::iter::repeat_n(' ', indent));
        }
        inline(name, out);
        out.push(':');
        after_name(value, indent, out);
    }
}

fn items(list: &[Value], indent: usize, begun: bool, out: &mut String) {
    for (i, value) in list.iter().enumerate() {
        if i > 0 || !begun {
            out.extend(std::iter::repeat_n(' ', indent));
        }
        out.push_str("- ");
        match value {
            Value::Object(map) if !map.is_empty() => fields(map, indent + 2, true, out),
            Value::Array(list) if !list.is_empty() => items(list, indent + 2, true, out),
            _ => scalar(value, indent, out),
        }
    }
}

/// Writes what is no map and no list, or an empty one, and ends the line.
fn scalar(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::String(text) if is_block(text) => return block(text, indent + 2, out),
        Value::String(text) => inline(text, out),
        Value::Array(_) => out.push_str("[]"),
        Value::Object(_) => out.push_str("{}"),
        other => out.push_str(&other.to_string()),
    }
    out.push('\n');
}

/// Whether a text of several lines can stand as it is.
fn is_block(text: &str) -> bool {
    let odd = |c: char| (c.is_control() && c != '\n' && c != '\t') || is_special(c);
    let first = text.trim_start_matches('\n');
    text.contains('\n') && !first.is_empty() && !first.starts_with([' ', '\t']) && !text.contains(odd)
}

/// What YAML takes for an end of line or for a mark at its beginning.
fn is_special(c: char) -> bool {
    matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}')
}

fn block(text: &str, indent: usize, out: &mut String) {
    let body = text.strip_suffix('\n');
    out.push_str(match body {
        None => "|-\n",
        Some(body) if body.ends_with('\n') => "|+\n",
        Some(_) => "|\n",
    });
    for line in body.unwrap_or(text).split('\n') {
        if !line.is_empty() {
            out.extend(std::iter::repeat_n(' ', indent));
            out.push_str(line);
        }
        out.push('\n');
    }
}

/// Writes a text on one line.
fn inline(text: &str, out: &mut String) {
    if is_plain(text) {
        out.push_str(text);
        return;
    }
    // JSON's escapes are YAML's.
    for c in Value::from(text).to_string().chars() {
        if is_special(c) || (c.is_control() && !c.is_ascii_control()) || c == '\u{7f}' {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
}

/// Whether a text means itself without quotes.
fn is_plain(text: &str) -> bool {
    const WORDS: &[&str] =
        &["y", "n", "yes", "no", "on", "off", "true", "false", "null", "~", "nan", "inf", "="];
    let Some(first) = text.chars().next() else { return false };
    let number_like = first.is_ascii_digit() || matches!(first, '+' | '-' | '.');
    if number_like && is_number_or_time(text) {
        return false;
    }
    // What stands for structure at the beginning of a value.
    if "!&*?|>%@`\"'#,[]{}:=~<".contains(first)
        || text.starts_with("- ")
        || text == "-"
        || text.starts_with("---")
    {
        return false;
    }
    let ends_badly = text.ends_with([' ', ':']) || first == ' ';
    let structure = text.contains(": ") || text.contains(" #");
    let odd = text.contains(|c: char| c.is_control() || is_special(c));
    !ends_badly && !structure && !odd && !WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// Whether some reader may take a text for a number, a time of day, a date or a moment: a superset of what they do.
fn is_number_or_time(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let unsigned = lower.trim_start_matches(['+', '-']);
    if matches!(unsigned, ".inf" | ".nan" | "." | "" | "..") {
        return true;
    }
    if let Some(digits) = unsigned.strip_prefix("0x") {
        return digits.bytes().all(|b| b.is_ascii_hexdigit() || b == b'_');
    }
    unsigned.bytes().all(|b| b.is_ascii_digit() || b"_.:+-etzbo \t".contains(&b))
}

#[cfg(test)]
mod tests;
