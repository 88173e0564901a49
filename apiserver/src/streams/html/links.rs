//! Finding the links of an HTML page in its bytes as they come, and leaving all else as it is.
//!
//! Follows the tokenizer of the HTML standard as far as it takes to know a tag's attributes from text. Home-made: libraries
//! that can be fed piece by piece bring an engine of CSS selectors (`lol_html`), or forget how the page was written
//! (`html5ever`); others want a thread for each page (`html5gum`). Upstream counterpart: `rewriteHTML`.

use std::{mem, ops::Range};

/// The attributes of tags that hold links, as upstream has them.
const LINKS: &[(&str, &[&str])] = &[
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "usemap", "formaction"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("video", &["poster", "src"]),
];

/// Elements whose content is no markup.
const RAW: &[&str] = &[
    "iframe",
    "noembed",
    "noframes",
    "noscript",
    "plaintext",
    "script",
    "style",
    "textarea",
    "title",
    "xmp",
];

/// Tags up to this size are looked into.
const LARGEST_TAG: usize = 64 * 1024;

/// What is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Text,
    /// Behind `<`.
    Open,
    /// Behind `</`.
    OpenEnd,
    /// Behind `<!`, with so many dashes.
    Declaration(u8),
    /// Up to the next `>`.
    Bogus,
    /// A comment: how many dashes were last (three stand for more), whether a `!` follows them, and whether anything else
    /// was read.
    Comment {
        dashes: u8,
        bang: bool,
        begun: bool,
    },
    /// The content of a raw element, whose end matches so far.
    Raw {
        name: &'static str,
        matched: usize,
    },
    TagName,
    /// Where an attribute may begin.
    Between,
    AttributeName,
    AfterAttributeName,
    BeforeValue,
    /// In a value that ends with this quote.
    Quoted(u8),
    Unquoted,
}

/// Passes a page on with other links.
pub struct Links<F> {
    rewrite: F,
    state: State,
    /// The tag that is being read.
    tag: Vec<u8>,
    /// Whether it is an end tag, or too large.
    opaque: bool,
    /// Which raw element a tag begins that was too large.
    raw: Option<&'static str>,
    name_ends: usize,
    /// Where the present attribute's name is.
    attribute: Range<usize>,
    /// Where the values of links are.
    values: Vec<Range<usize>>,
    value_begins: usize,
}

impl<F: FnMut(&str) -> String> Links<F> {
    /// Links become what `rewrite` makes of them, which is text with its special characters escaped, as it is given.
    pub fn new(rewrite: F) -> Self {
        Self {
            rewrite,
            state: State::Text,
            tag: Vec::new(),
            opaque: false,
            raw: None,
            name_ends: 0,
            attribute: 0..0,
            values: Vec::new(),
            value_begins: 0,
        }
    }

    /// Passes on the next bytes of the page.
    pub fn feed(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.state == State::Text {
                // Most of a page.
                let text = memchr::memchr(b'<', bytes).unwrap_or(bytes.len());
                out.extend_from_slice(&bytes[..text]);
                bytes = &bytes[text..];
                if !bytes.is_empty() {
                    bytes = &bytes[1..];
                    self.tag.push(b'<');
                    self.state = State::Open;
                }
                continue;
            }
            if self.step(byte, out) {
                bytes = rest;
            }
        }
    }

    /// Passes on what is left when the page ends.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.tag);
    }

    /// Reads a byte; whether it is done with.
    fn step(&mut self, byte: u8, out: &mut Vec<u8>) -> bool {
        let space = byte.is_ascii_whitespace();
        match self.state {
            State::Text => return false,
            State::Open => {
                self.state = match byte {
                    b'/' => State::OpenEnd,
                    b'!' => State::Declaration(0),
                    b'?' => State::Bogus,
                    _ if byte.is_ascii_alphabetic() => self.begin_tag(false),
                    _ => State::Text,
                };
                if matches!(self.state, State::Declaration(_) | State::Bogus | State::Text) {
                    out.append(&mut self.tag);
                }
                if self.state == State::Text {
                    return false;
                }
            }
            State::OpenEnd => {
                self.state = match byte {
                    _ if byte.is_ascii_alphabetic() => self.begin_tag(true),
                    b'>' => State::Text,
                    _ => State::Bogus,
                };
                if self.state != State::TagName {
                    out.append(&mut self.tag);
                }
            }
            State::Declaration(dashes) => {
                self.state = match (byte, dashes) {
                    (b'-', 0) => State::Declaration(1),
                    // `<!-->` is a whole comment.
                    (b'-', _) => State::Comment { dashes: 2, bang: false, begun: false },
                    (b'>', _) => State::Text,
                    _ => State::Bogus,
                };
            }
            State::Bogus => {
                if byte == b'>' {
                    self.state = State::Text;
                }
            }
            State::Comment { dashes, bang, begun } => {
                self.state = match byte {
                    b'>' if dashes >= 2 && (begun || !bang) => State::Text,
                    b'-' if bang => State::Comment { dashes: 1, bang: false, begun: true },
                    b'-' => State::Comment { dashes: (dashes + 1).min(3), bang, begun },
                    b'!' if dashes >= 2 && !bang && begun => State::Comment { dashes, bang: true, begun },
                    _ => State::Comment { dashes: 0, bang: false, begun: true },
                };
            }
            State::Raw { name, matched } => self.state = raw(name, matched, byte),
            State::TagName | State::Between | State::AttributeName | State::AfterAttributeName
                if byte == b'>' =>
            {
                return self.end_tag(out);
            }
            State::TagName => {
                if space || byte == b'/' {
                    self.name_ends = self.tag.len();
                    self.state = State::Between;
                }
            }
            State::Between => {
                if !space && byte != b'/' {
                    self.attribute = self.tag.len()..self.tag.len() + 1;
                    self.state = State::AttributeName;
                }
            }
            State::AttributeName => match byte {
                b'=' => self.state = State::BeforeValue,
                b'/' => self.state = State::Between,
                _ if space => self.state = State::AfterAttributeName,
                _ => self.attribute.end = self.tag.len() + 1,
            },
            State::AfterAttributeName => match byte {
                b'=' => self.state = State::BeforeValue,
                b'/' => self.state = State::Between,
                _ if space => {}
                _ => {
                    self.attribute = self.tag.len()..self.tag.len() + 1;
                    self.state = State::AttributeName;
                }
            },
            State::BeforeValue => match byte {
                b'"' | b'\'' => {
                    self.value_begins = self.tag.len() + 1;
                    self.state = State::Quoted(byte);
                }
                b'>' => return self.end_tag(out),
                _ if space => {}
                _ => {
                    self.value_begins = self.tag.len();
                    self.state = State::Unquoted;
                }
            },
            State::Quoted(quote) => {
                if byte == quote {
                    self.end_value();
                    self.state = State::Between;
                }
            }
            State::Unquoted => {
                if space || byte == b'>' {
                    self.end_value();
                    self.state = State::Between;
                    return false;
                }
            }
        }
        self.keep(byte, out);
        true
    }

    /// Keeps a byte of a tag that is looked into; passes on all others.
    fn keep(&mut self, byte: u8, out: &mut Vec<u8>) {
        let in_tag = matches!(
            self.state,
            State::Open
                | State::OpenEnd
                | State::TagName
                | State::Between
                | State::AttributeName
                | State::AfterAttributeName
                | State::BeforeValue
                | State::Quoted(_)
                | State::Unquoted
        );
        if !in_tag || self.opaque {
            out.append(&mut self.tag);
            out.push(byte);
            return;
        }
        self.tag.push(byte);
        if self.tag.len() > LARGEST_TAG {
            self.raw = self.raw_element();
            self.opaque = true;
            self.values.clear();
            out.append(&mut self.tag);
        }
    }

    fn begin_tag(&mut self, opaque: bool) -> State {
        self.opaque = opaque;
        self.raw = None;
        self.name_ends = 0;
        self.attribute = 0..0;
        self.values.clear();
        State::TagName
    }

    /// The tag's name, in lower case.
    fn name(&self) -> Vec<u8> {
        let ends = if self.name_ends == 0 { self.tag.len() } else { self.name_ends };
        self.tag.get(1..ends).unwrap_or_default().to_ascii_lowercase()
    }

    fn raw_element(&self) -> Option<&'static str> {
        let name = self.name();
        RAW.iter().copied().find(|raw| raw.as_bytes() == name)
    }

    fn end_value(&mut self) {
        if self.opaque {
            return;
        }
        let attribute = self.tag.get(self.attribute.clone()).unwrap_or_default().to_ascii_lowercase();
        let name = self.name();
        let holds = LINKS.iter().any(|(tag, attributes)| {
            tag.as_bytes() == name && attributes.iter().any(|known| known.as_bytes() == attribute)
        });
        if holds {
            self.values.push(self.value_begins..self.tag.len());
        }
    }

    /// Passes on a tag at its `>`, with other links.
    fn end_tag(&mut self, out: &mut Vec<u8>) -> bool {
        let raw = if self.opaque { self.raw } else { self.raw_element() };
        self.state = raw.map_or(State::Text, |name| State::Raw { name, matched: 0 });
        let tag = mem::take(&mut self.tag);
        let mut from = 0;
        for value in self.values.drain(..) {
            let Ok(link) = std::str::from_utf8(&tag[value.clone()]) else { continue };
            out.extend_from_slice(&tag[from..value.start]);
            out.extend_from_slice((self.rewrite)(link).as_bytes());
            from = value.end;
        }
        out.extend_from_slice(&tag[from..]);
        out.push(b'>');
        self.opaque = false;
        true
    }
}

/// The state behind a byte of a raw element's content: its end tag may come.
fn raw(name: &'static str, matched: usize, byte: u8) -> State {
    let lower = byte.to_ascii_lowercase();
    let matched = match matched {
        0 if byte == b'<' => 1,
        1 if byte == b'/' => 2,
        2.. if name.as_bytes().get(matched - 2) == Some(&lower) => matched + 1,
        2.. if matched - 2 == name.len() && name != "plaintext" => match byte {
            b'>' => return State::Text,
            _ if byte.is_ascii_whitespace() || byte == b'/' => return State::Bogus,
            _ => 0,
        },
        _ => usize::from(byte == b'<'),
    };
    State::Raw { name, matched }
}

#[cfg(test)]
mod tests;
