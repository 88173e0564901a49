//! One line of a container's log file, as runtimes write it:
//! `2026-01-02T03:04:05.000000006Z stdout F the text`. Pure.

use std::str;

use jiff::Timestamp;

/// A line of a log file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// When it was written, in the file's words.
    pub time: &'a str,
    /// What was written.
    pub text: &'a [u8],
    /// Whether the text goes on in the next line.
    pub partial: bool,
}

/// Reads a line without its end; none if it is not one.
pub fn parse(line: &[u8]) -> Option<Line<'_>> {
    let mut parts = line.splitn(4, |&byte| byte == b' ');
    let time = str::from_utf8(parts.next()?).ok()?;
    let stream = parts.next()?;
    let tag = parts.next()?;
    if !matches!(stream, b"stdout" | b"stderr") {
        return None;
    }
    // Tags may be followed by others, after colons.
    let partial = tag.split(|&byte| byte == b':').next() == Some(b"P");
    Some(Line { time, text: parts.next().unwrap_or_default(), partial })
}

/// A time with all nine decimals, of which runtimes leave out zeros at the end.
fn with_nanoseconds(time: &str) -> String {
    let Some((seconds, rest)) = time.split_at_checked("2026-01-02T03:04:05".len()) else {
        return time.to_owned();
    };
    let decimals = rest.strip_prefix('.').unwrap_or(rest);
    let zone = decimals.find(|c: char| !c.is_ascii_digit()).unwrap_or(decimals.len());
    let (decimals, zone) = decimals.split_at(zone);
    format!("{seconds}.{decimals:0<9}{zone}")
}

/// Which lines are wanted and how they are shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only lines not older than this.
    pub since: Option<Timestamp>,
    /// Each line begins with its time.
    pub timestamps: bool,
}

impl Filter {
    /// Appends a line of the file as it is to be shown; `goes_on` says whether it continues the one before it, and is
    /// kept up to date.
    pub fn show(&self, raw: &[u8], goes_on: &mut bool, shown: &mut Vec<u8>) {
        let Some(line) = parse(raw) else { return };
        let continues = std::mem::replace(goes_on, line.partial);
        if let Some(since) = self.since
            && line.time.parse::<Timestamp>().is_ok_and(|time| time < since)
        {
            return;
        }
        if self.timestamps && !continues {
            shown.extend_from_slice(with_nanoseconds(line.time).as_bytes());
            shown.push(b' ');
        }
        shown.extend_from_slice(line.text);
        if !line.partial {
            shown.push(b'\n');
        }
    }
}

#[cfg(test)]
mod tests;
