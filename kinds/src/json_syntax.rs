//! Where a text stops being JSON, in the words of Go's decoder: clients show them, and scripts look for them.
//!
//! Nothing recurses, so a text may be as deep as it likes. Counterpart of the scanner of Go's `encoding/json`.

/// What is wrong with a text; nothing when it is JSON.
pub fn mistake(text: &[u8]) -> Option<String> {
    let mut scanner = Scanner { text, at: 0, open: Vec::new() };
    match scanner.value().and_then(|()| scanner.rest()) {
        Ok(()) => None,
        Err(Mistake::End) => Some("unexpected end of JSON input".into()),
        Err(Mistake::At(byte, place)) => Some(format!("invalid character {} {place}", quoted(byte))),
    }
}

#[derive(Debug, PartialEq)]
enum Mistake {
    /// The text ends before the value does.
    End,
    /// A byte that may not stand where it does.
    At(u8, String),
}

type Scanned = Result<(), Mistake>;

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    /// What closes the lists and objects that are open.
    open: Vec<u8>,
}

impl Scanner<'_> {
    fn peek(&self) -> Result<u8, Mistake> {
        self.text.get(self.at).copied().ok_or(Mistake::End)
    }

    fn next(&mut self) -> Result<u8, Mistake> {
        let byte = self.peek()?;
        self.at += 1;
        Ok(byte)
    }

    fn space(&mut self) {
        while matches!(self.peek(), Ok(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// One value and all that it holds.
    fn value(&mut self) -> Scanned {
        loop {
            self.space();
            match self.next()? {
                b'{' => {
                    self.space();
                    if self.peek()? == b'}' {
                        self.at += 1;
                    } else {
                        self.open.push(b'}');
                        self.key()?;
                        continue;
                    }
                }
                b'[' => {
                    self.space();
                    if self.peek()? == b']' {
                        self.at += 1;
                    } else {
                        self.open.push(b']');
                        continue;
                    }
                }
                b'"' => self.string()?,
                b't' => self.literal("true")?,
                b'f' => self.literal("false")?,
                b'n' => self.literal("null")?,
                first @ (b'-' | b'0'..=b'9') => self.number(first)?,
                other => return wrong(other, "looking for beginning of value"),
            }
            if self.after_value()? {
                return Ok(());
            }
        }
    }

    /// Goes on to the next value; true when the outermost one is read.
    fn after_value(&mut self) -> Result<bool, Mistake> {
        while let Some(close) = self.open.last().copied() {
            self.space();
            match self.next()? {
                b',' if close == b'}' => return self.key().map(|()| false),
                b',' => return Ok(false),
                end if end == close => {
                    self.open.pop();
                }
                other if close == b'}' => return wrong(other, "after object key:value pair"),
                other => return wrong(other, "after array element"),
            }
        }
        Ok(true)
    }

    /// The name of a field, and its colon.
    fn key(&mut self) -> Scanned {
        self.space();
        match self.next()? {
            b'"' => self.string()?,
            other => return wrong(other, "looking for beginning of object key string"),
        }
        self.space();
        match self.next()? {
            b':' => Ok(()),
            other => wrong(other, "after object key"),
        }
    }

    fn string(&mut self) -> Scanned {
        loop {
            match self.next()? {
                b'"' => return Ok(()),
                b'\\' => match self.next()? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    b'u' => {
                        for _ in 0..4 {
                            let digit = self.next()?;
                            if !digit.is_ascii_hexdigit() {
                                return wrong(digit, "in \\u hexadecimal character escape");
                            }
                        }
                    }
                    other => return wrong(other, "in string escape code"),
                },
                control if control < 0x20 => return wrong(control, "in string literal"),
                _ => {}
            }
        }
    }

    fn literal(&mut self, word: &str) -> Scanned {
        for wanted in word.bytes().skip(1) {
            let found = self.next()?;
            if found != wanted {
                return wrong(found, &format!("in literal {word} (expecting {})", quoted(wanted)));
            }
        }
        Ok(())
    }

    fn number(&mut self, first: u8) -> Scanned {
        let mut lead = first;
        if lead == b'-' {
            lead = self.digit("in numeric literal")?;
        }
        if lead != b'0' {
            self.digits();
        }
        if self.peek() == Ok(b'.') {
            self.at += 1;
            self.digit("after decimal point in numeric literal")?;
            self.digits();
        }
        if matches!(self.peek(), Ok(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Ok(b'+' | b'-')) {
                self.at += 1;
            }
            self.digit("in exponent of numeric literal")?;
            self.digits();
        }
        Ok(())
    }

    fn digit(&mut self, place: &str) -> Result<u8, Mistake> {
        match self.next()? {
            digit @ b'0'..=b'9' => Ok(digit),
            other => Err(Mistake::At(other, place.into())),
        }
    }

    fn digits(&mut self) {
        while matches!(self.peek(), Ok(b'0'..=b'9')) {
            self.at += 1;
        }
    }

    /// What follows the outermost value.
    fn rest(&mut self) -> Scanned {
        self.space();
        match self.peek() {
            Ok(other) => wrong(other, "after top-level value"),
            Err(_) => Ok(()),
        }
    }
}

fn wrong<T>(byte: u8, place: &str) -> Result<T, Mistake> {
    Err(Mistake::At(byte, place.into()))
}

/// A byte as Go quotes it.
fn quoted(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".into(),
        b'\\' => r"'\\'".into(),
        0x07 => r"'\a'".into(),
        0x08 => r"'\b'".into(),
        0x09 => r"'\t'".into(),
        0x0a => r"'\n'".into(),
        0x0b => r"'\v'".into(),
        0x0c => r"'\f'".into(),
        0x0d => r"'\r'".into(),
        0x00..0x20 | 0x7f => format!(r"'\x{byte:02x}'"),
        0x80..=0xa0 | 0xad => format!(r"'\u{byte:04x}'"),
        _ => format!("'{}'", char::from(byte)),
    }
}

#[cfg(test)]
mod tests;
