//! What changed of a value, in lines: for refusals of updates that touch what must stay.
//!
//! Counterpart of upstream's use of a unified diff in validation messages.

use serde::Serialize;

/// A value as the texts that are compared show it: one space for each level.
pub fn shown(value: &impl Serialize) -> String {
    let mut bytes = Vec::new();
    let format = serde_json::ser::PrettyFormatter::with_indent(b" ");
    let mut writer = serde_json::Serializer::with_formatter(&mut bytes, format);
    // Writing to memory fails for no value that came from JSON.
    let _ = value.serialize(&mut writer);
    String::from_utf8(bytes).unwrap_or_default()
}

/// The lines of a text that another text changes, with three lines around them, as `diff -u` shows them.
pub fn line_diff(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let most = old.len().min(new.len()) - head;
    let tail = old.iter().rev().zip(new.iter().rev()).take(most).take_while(|(a, b)| a == b).count();
    let start = head.saturating_sub(3);
    let after = tail.min(3);
    let end = |lines: &[&str]| lines.len() - tail + after;
    let mut text =
        format!("@@ -{},{} +{},{} @@\n", start + 1, end(&old) - start, start + 1, end(&new) - start);
    let mut line = |sign: char, content: &str| {
        text.push(sign);
        text.push_str(content);
        text.push('\n');
    };
    old[start..head].iter().for_each(|l| line(' ', l));
    old[head..old.len() - tail].iter().for_each(|l| line('-', l));
    new[head..new.len() - tail].iter().for_each(|l| line('+', l));
    old[old.len() - tail..end(&old)].iter().for_each(|l| line(' ', l));
    text
}

#[cfg(test)]
mod tests;
