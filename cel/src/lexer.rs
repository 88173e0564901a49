//! Cuts the text of an expression into tokens.

use super::ast::Literal;

/// A token and where it begins, in characters.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub at: usize,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    Ident(String),
    Literal(Literal),
    /// An operator or a bracket.
    Sign(&'static str),
    End,
}

/// What cannot be read, and where.
#[derive(Debug, PartialEq)]
pub(super) struct Unreadable {
    pub at: usize,
    pub why: String,
}

/// Longer ones first.
const SIGNS: &[&str] = &[
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "!", "+", "-", "*", "/", "%", "?", ":", ".", ",", "(", ")",
    "[", "]", "{", "}",
];

pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Unreadable> {
    let chars: Vec<char> = text.chars().collect();
    let mut lexer = Lexer { chars: &chars, at: 0 };
    let mut found = Vec::new();
    loop {
        lexer.skip_blanks();
        let at = lexer.at;
        let what = lexer.token()?;
        let end = what == What::End;
        found.push(Token { at, what });
        if end {
            return Ok(found);
        }
    }
}

struct Lexer<'a> {
    chars: &'a [char],
    at: usize,
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn starts_with(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(i, c)| self.peek(i) == Some(c))
    }

    fn take_while(&mut self, fits: impl Fn(char) -> bool) -> String {
        let start = self.at;
        while self.peek(0).is_some_and(&fits) {
            self.at += 1;
        }
        self.chars[start..self.at].iter().collect()
    }

    fn skip_blanks(&mut self) {
        loop {
            self.take_while(char::is_whitespace);
            if !self.starts_with("//") {
                return;
            }
            self.take_while(|c| c != '\n');
        }
    }

    fn unreadable<T>(&self, at: usize, why: impl Into<String>) -> Result<T, Unreadable> {
        Err(Unreadable { at, why: why.into() })
    }

    fn token(&mut self) -> Result<What, Unreadable> {
        let Some(c) = self.peek(0) else { return Ok(What::End) };
        if let Some(prefix) = self.string_prefix() {
            return self.string(prefix);
        }
        if c.is_ascii_digit() || (c == '.' && self.peek(1).is_some_and(|d| d.is_ascii_digit())) {
            return self.number();
        }
        if c.is_ascii_alphabetic() || c == '_' {
            let name = self.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
            return Ok(match name.as_str() {
                "true" => What::Literal(Literal::Bool(true)),
                "false" => What::Literal(Literal::Bool(false)),
                "null" => What::Literal(Literal::Null),
                "in" => What::Sign("in"),
                _ => What::Ident(name),
            });
        }
        for sign in SIGNS {
            if self.starts_with(sign) {
                self.at += sign.len();
                return Ok(What::Sign(sign));
            }
        }
        self.unreadable(self.at, format!("token recognition error at: '{c}'"))
    }

    fn number(&mut self) -> Result<What, Unreadable> {
        let start = self.at;
        if self.starts_with("0x") || self.starts_with("0X") {
            self.at += 2;
            let digits = self.take_while(|c| c.is_ascii_hexdigit());
            let parsed = u64::from_str_radix(&digits, 16);
            return self.integer(start, parsed.ok());
        }
        let mut text = self.take_while(|c| c.is_ascii_digit());
        let mut whole = true;
        if self.peek(0) == Some('.') && self.peek(1).is_some_and(|d| d.is_ascii_digit()) {
            whole = false;
            self.at += 1;
            text = format!("{text}.{}", self.take_while(|c| c.is_ascii_digit()));
        }
        let exponent = usize::from(matches!(self.peek(1), Some('+' | '-')));
        if matches!(self.peek(0), Some('e' | 'E'))
            && self.peek(1 + exponent).is_some_and(|d| d.is_ascii_digit())
        {
            whole = false;
            text.push('e');
            text.extend(&self.chars[self.at + 1..=self.at + exponent]);
            self.at += 1 + exponent;
            text += &self.take_while(|c| c.is_ascii_digit());
        }
        if whole {
            return self.integer(start, text.parse().ok());
        }
        match text.parse() {
            Ok(number) => Ok(What::Literal(Literal::Double(number))),
            Err(_) => self.unreadable(start, "invalid double literal"),
        }
    }

    /// `i64::MIN` is written as a negated number one larger than `i64::MAX`; the parser puts both together.
    fn integer(&mut self, start: usize, parsed: Option<u64>) -> Result<What, Unreadable> {
        if matches!(self.peek(0), Some('u' | 'U')) {
            self.at += 1;
            return match parsed {
                Some(number) => Ok(What::Literal(Literal::Uint(number))),
                None => self.unreadable(start, "invalid uint literal"),
            };
        }
        match parsed {
            Some(number) if number <= 1 << 63 => Ok(What::Literal(Literal::Int(number.cast_signed()))),
            _ => self.unreadable(start, "invalid int literal"),
        }
    }

    /// The letters before a string's quotes, when a string begins here.
    fn string_prefix(&self) -> Option<usize> {
        let letters = (0..3).find(|i| !self.peek(*i).is_some_and(|c| "rRbB".contains(c)))?;
        matches!(self.peek(letters), Some('"' | '\'')).then_some(letters)
    }

    fn string(&mut self, prefix: usize) -> Result<What, Unreadable> {
        let start = self.at;
        let letters: String = self.chars[start..start + prefix].iter().collect::<String>().to_lowercase();
        let (raw, bytes) = (letters.contains('r'), letters.contains('b'));
        self.at += prefix;
        let quote = self.chars[self.at];
        let long = self.peek(1) == Some(quote) && self.peek(2) == Some(quote);
        let quotes = if long { 3 } else { 1 };
        self.at += quotes;
        let mut content = Content { text: String::new(), bytes: Vec::new() };
        loop {
            let Some(c) = self.peek(0) else { return self.unreadable(start, "unterminated string literal") };
            if c == quote && (!long || (self.peek(1) == Some(quote) && self.peek(2) == Some(quote))) {
                self.at += quotes;
                break;
            }
            if !long && (c == '\n' || c == '\r') {
                return self.unreadable(start, "unterminated string literal");
            }
            self.at += 1;
            if c == '\\' && !raw {
                self.escape(&mut content, bytes)?;
            } else if c == '\\' && self.peek(0).is_some_and(|next| next == quote || next == '\\') && raw {
                // A raw string keeps the backslash, and the quote behind it does not end the string.
                content.push('\\');
                content.push(self.chars[self.at]);
                self.at += 1;
            } else {
                content.push(c);
            }
        }
        Ok(What::Literal(if bytes { Literal::Bytes(content.bytes) } else { Literal::String(content.text) }))
    }

    fn escape(&mut self, content: &mut Content, bytes: bool) -> Result<(), Unreadable> {
        let at = self.at - 1;
        let wrong = || Unreadable { at, why: "invalid escape sequence".into() };
        let c = self.peek(0).ok_or_else(wrong)?;
        self.at += 1;
        let (digits, radix) = match c {
            'a' => return content.push_one('\x07'),
            'b' => return content.push_one('\x08'),
            'f' => return content.push_one('\x0c'),
            'n' => return content.push_one('\n'),
            'r' => return content.push_one('\r'),
            't' => return content.push_one('\t'),
            'v' => return content.push_one('\x0b'),
            '\\' | '\'' | '"' | '`' | '?' => return content.push_one(c),
            'x' | 'X' => (2, 16),
            'u' if !bytes => (4, 16),
            'U' if !bytes => (8, 16),
            '0'..='3' => {
                self.at -= 1;
                (3, 8)
            }
            _ => return Err(wrong()),
        };
        let text: String = self.chars.get(self.at..self.at + digits).ok_or_else(wrong)?.iter().collect();
        let code = u32::from_str_radix(&text, radix).map_err(|_| wrong())?;
        self.at += digits;
        if bytes {
            content.bytes.push(u8::try_from(code).map_err(|_| wrong())?);
            return Ok(());
        }
        content.push_one(char::from_u32(code).ok_or_else(wrong)?)
    }
}

/// A string's content as text and as bytes; only one of them is asked for.
struct Content {
    text: String,
    bytes: Vec<u8>,
}

impl Content {
    fn push(&mut self, c: char) {
        self.text.push(c);
        self.bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
    }

    #[expect(clippy::unnecessary_wraps, reason = "ends the escape in one expression")]
    fn push_one(&mut self, c: char) -> Result<(), Unreadable> {
        self.push(c);
        Ok(())
    }
}
