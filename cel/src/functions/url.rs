//! URLs as Go's `url.ParseRequestURI` takes them apart.

use std::collections::BTreeMap;

use crate::value::{Evaluated, List, Map, Value};

#[derive(Debug, PartialEq)]
pub(crate) struct Url {
    scheme: String,
    host: String,
    path: String,
    query: String,
}

impl Url {
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.contains(|c: char| c.is_ascii_control() || c == ' ') {
            return None;
        }
        let (text, query) = text.split_once('?').unwrap_or((text, ""));
        let query = query.to_owned();
        if let Some(path) = text.strip_prefix('/') {
            let path = format!("/{path}");
            return escaped(&path).then(|| Self { scheme: String::new(), host: String::new(), path, query });
        }
        let (scheme, rest) = text.split_once(':')?;
        let mut letters = scheme.chars();
        let named = letters.next()?.is_ascii_alphabetic()
            && letters.all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        if !named {
            return None;
        }
        let scheme = scheme.to_ascii_lowercase();
        let Some(rest) = rest.strip_prefix("//") else {
            // Without slashes nothing but an absolute path is taken.
            return (rest.starts_with('/') && escaped(rest)).then(|| Self {
                scheme,
                host: String::new(),
                path: rest.to_owned(),
                query,
            });
        };
        let end = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let url = Self { scheme, host: host.to_owned(), path: path.to_owned(), query };
        let port = url.port();
        let (open, close) = (host.starts_with('['), host.contains(']'));
        let sound = port.chars().all(|c| c.is_ascii_digit())
            && open == close
            && escaped(path)
            && !host.contains(['<', '>', '"', '\\', '^', '`', '{', '|', '}', '%']);
        sound.then_some(url)
    }

    fn hostname(&self) -> &str {
        match self.host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, _)) => address,
            None => self.host.split_once(':').map_or(&*self.host, |(name, _)| name),
        }
    }

    fn port(&self) -> &str {
        let behind = self.host.rsplit_once(']').map_or(&*self.host, |(_, rest)| rest);
        behind.split_once(':').map_or("", |(_, port)| port)
    }

    pub(super) fn call<'a>(&self, name: &str, args: &[Value<'a>]) -> Option<Evaluated<'a>> {
        if !args.is_empty() {
            return None;
        }
        Some(Ok(match name {
            "getScheme" => Value::text(&*self.scheme),
            "getHost" => Value::text(&*self.host),
            "getHostname" => Value::text(self.hostname()),
            "getPort" => Value::text(self.port()),
            "getEscapedPath" => Value::text(&*self.path),
            "getQuery" => self.query(),
            _ => return None,
        }))
    }

    fn query<'a>(&self) -> Value<'a> {
        let mut found: BTreeMap<String, Vec<Value<'a>>> = BTreeMap::new();
        for pair in self.query.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';')) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if let (Some(key), Some(value)) = (unescape(key), unescape(value)) {
                found.entry(key).or_default().push(Value::text(value));
            }
        }
        let entries = found
            .into_iter()
            .map(|(key, values)| (Value::text(key), Value::List(List::made(values))))
            .collect();
        Value::Map(Map::made(entries))
    }
}

/// Whether every percent sign is followed by two hexadecimal digits.
fn escaped(text: &str) -> bool {
    text.split('%').skip(1).all(|part| {
        let bytes = part.as_bytes();
        bytes.len() >= 2 && bytes[..2].iter().all(u8::is_ascii_hexdigit)
    })
}

fn unescape(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                out.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
            }
            other => out.push(other),
        }
    }
    String::from_utf8(out).ok()
}
