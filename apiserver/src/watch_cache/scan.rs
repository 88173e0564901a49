//! Finds the few bytes of a JSON object that the watch cache needs, without decoding the rest.
//!
//! Invariant: offsets point into the scanned bytes; whatever is not a JSON object with an
//! object for `metadata` yields `None`. Upstream decodes every object completely here.

use std::ops::Range;

/// Where things are in an object's JSON.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scan {
    /// Offset just behind the brace that opens `metadata`.
    pub metadata: usize,
    /// `metadata` is `{}`.
    pub metadata_empty: bool,
    /// `metadata.labels`, sorted by key.
    pub labels: Vec<(Box<str>, Box<str>)>,
    /// The members `apiVersion` and `kind` with their commas, where they stand before `metadata`, in this order.
    pub types: Option<[Range<usize>; 2]>,
}

/// Looks through an object's JSON up to the end of its metadata.
pub(super) fn scan(json: &[u8]) -> Option<Scan> {
    let mut cursor = Cursor { json, at: 0 };
    let (mut found, mut version, mut kind) = (None, None, None);
    cursor.members(|cursor, key| {
        if &cursor.json[key.clone()] != b"metadata" {
            cursor.skip_value()?;
            let member =
                || Some(key.start - 1..cursor.at + 1).filter(|_| cursor.json.get(cursor.at) == Some(&b','));
            match &cursor.json[key.clone()] {
                b"apiVersion" => version = member(),
                b"kind" => kind = member(),
                _ => {}
            }
            return Some(true);
        }
        found = Some(cursor.metadata()?);
        Some(false)
    })?;
    let types = version.zip(kind).filter(|(version, kind)| version.end <= kind.start).map(<[_; 2]>::from);
    found.map(|found| Scan { types, ..found })
}

struct Cursor<'a> {
    json: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn peek(&mut self) -> Option<u8> {
        while matches!(self.json.get(self.at)?, b' ' | b'\t' | b'\r' | b'\n') {
            self.at += 1;
        }
        self.json.get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// The bytes between the quotes, still escaped.
    fn string(&mut self) -> Option<Range<usize>> {
        self.expect(b'"')?;
        let start = self.at;
        loop {
            self.at += memchr::memchr2(b'"', b'\\', self.json.get(self.at..)?)?;
            if self.json[self.at] == b'"' {
                self.at += 1;
                return Some(start..self.at - 1);
            }
            self.at += 2;
        }
    }

    fn skip_value(&mut self) -> Option<()> {
        let mut depth = 0;
        loop {
            match self.peek()? {
                b'"' => {
                    self.string()?;
                }
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth -= 1;
                    self.at += 1;
                }
                b',' | b':' => {
                    self.at += 1;
                    continue;
                }
                _ => {
                    let rest = &self.json[self.at..];
                    self.at +=
                        rest.iter().position(|b| matches!(b, b',' | b':' | b'}' | b']' | b' ' | b'\n'))?;
                }
            }
            if depth <= 0 {
                return (depth == 0).then_some(());
            }
        }
    }

    /// Walks an object: `visit` gets each key and consumes its value; false ends the walk.
    fn members(&mut self, mut visit: impl FnMut(&mut Self, Range<usize>) -> Option<bool>) -> Option<()> {
        self.expect(b'{')?;
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(());
        }
        loop {
            let key = self.string()?;
            self.expect(b':')?;
            if !visit(self, key)? {
                return Some(());
            }
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Some(());
                }
                _ => return None,
            }
        }
    }

    fn metadata(&mut self) -> Option<Scan> {
        let mut labels = Vec::new();
        self.peek()?;
        let start = self.at + 1;
        let mut empty = true;
        self.members(|cursor, key| {
            empty = false;
            if &cursor.json[key] != b"labels" || cursor.peek()? != b'{' {
                cursor.skip_value()?;
                return Some(true);
            }
            cursor.members(|cursor, key| {
                let value = cursor.string()?;
                labels.push((text(&cursor.json[key])?, text(&cursor.json[value])?));
                Some(true)
            })?;
            Some(true)
        })?;
        labels.sort_unstable();
        Some(Scan { metadata: start, metadata_empty: empty, labels, types: None })
    }
}

fn text(raw: &[u8]) -> Option<Box<str>> {
    if !raw.contains(&b'\\') {
        return Some(std::str::from_utf8(raw).ok()?.into());
    }
    let quoted = [b"\"", raw, b"\""].concat();
    serde_json::from_slice::<String>(&quoted).ok().map(String::into_boxed_str)
}

#[cfg(test)]
mod tests;
