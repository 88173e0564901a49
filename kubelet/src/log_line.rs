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

/// Which lines are wanted and how they are shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only lines not older than this.
    pub since: Option<Timestamp>,
    /// Each line begins with its time.
    pub timestamps: bool,
}

impl Filter {
    /// Appends a line of the file as it is to be shown.
    pub fn show(&self, raw: &[u8], shown: &mut Vec<u8>) {
        let Some(line) = parse(raw) else { return };
        if let Some(since) = self.since
            && line.time.parse::<Timestamp>().is_ok_and(|time| time < since)
        {
            return;
        }
        if self.timestamps {
            shown.extend_from_slice(line.time.as_bytes());
            shown.push(b' ');
        }
        shown.extend_from_slice(line.text);
        if !line.partial {
            shown.push(b'\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "2026-01-02T03:04:05.000000006Z";

    #[test]
    fn lines() {
        let full = |text: &'static str| Some((text, false));
        let cases = [
            ("stdout F hello world", full("hello world")),
            ("stderr F  two spaces", full(" two spaces")),
            ("stdout F ", full("")),
            ("stdout F", full("")),
            ("stdout P begin", Some(("begin", true))),
            ("stdout P:x begin", Some(("begin", true))),
            ("elsewhere F hello", None),
            ("stdout", None),
        ];
        for (rest, expected) in cases {
            let raw = format!("{TIME} {rest}");
            let read = parse(raw.as_bytes()).map(|line| (str::from_utf8(line.text).unwrap(), line.partial));
            assert_eq!(read, expected, "{rest}");
        }
    }

    #[test]
    fn what_is_shown() {
        let shown = |filter: &Filter| {
            let mut shown = Vec::new();
            for raw in [
                "2026-01-01T00:00:00Z stdout F old",
                "2026-01-02T00:00:00Z stdout P half and ",
                "2026-01-02T00:00:00Z stdout F half",
                "nonsense",
                "2026-01-03T00:00:00.5+01:00 stderr F new",
            ] {
                filter.show(raw.as_bytes(), &mut shown);
            }
            String::from_utf8(shown).unwrap()
        };
        assert_eq!(shown(&Filter::default()), "old\nhalf and half\nnew\n");
        let since = Some("2026-01-02T12:00:00Z".parse().unwrap());
        assert_eq!(shown(&Filter { since, timestamps: true }), "2026-01-03T00:00:00.5+01:00 new\n");
    }
}
