//! Kubernetes' protobuf form of objects (`application/vnd.kubernetes.protobuf`), read into JSON values.
//!
//! Typed clients, kubectl's `create` among them, send it. One decoder works for every kind, from the table of
//! field numbers in `fields.tsv`, which `fields.py` writes and which a test holds against the schemas of all kinds.
//! Objects go out as JSON, which every client takes.

use std::{collections::HashMap, sync::LazyLock};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Map, Number, Value};

use crate::schema::{push_index, push_name};

#[cfg(test)]
mod tests;

/// What every such body begins with.
const MAGIC: &[u8] = b"k8s\0";
/// How deep messages may nest.
const MAX_DEPTH: usize = 100;
/// How many unknown fields are told; a body may hold a million.
const MAX_UNKNOWN: usize = 32;

/// Why bytes are not an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufError {
    /// The bytes do not begin as the format demands.
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    NoMagic,
    /// The bytes end early or are no protobuf.
    #[error("proto: malformed message")]
    Malformed,
    /// Messages nest too deep.
    #[error("proto: message nests too deep")]
    TooDeep,
    /// A kind that the table does not have.
    #[error("no kind {kind:?} is registered for version {version:?}")]
    Unknown {
        /// The version named.
        version: String,
        /// The kind named.
        kind: String,
    },
}

use ProtobufError::Malformed;

/// Reads a whole body: the envelope and the object in it, with its `apiVersion` and `kind`. Beside it come the first
/// of the fields whose numbers the table does not have: where they stand, with the number as the last name.
///
/// # Errors
/// For bytes that are no such object.
pub fn decode(bytes: &[u8]) -> Result<(Value, Vec<String>), ProtobufError> {
    let envelope = bytes.strip_prefix(MAGIC).ok_or(ProtobufError::NoMagic)?;
    let mut kind_of = (String::new(), String::new());
    let mut raw: &[u8] = &[];
    let mut reader = Reader(envelope);
    while let Some((number, wire)) = reader.field()? {
        match (number, wire) {
            (1, Wire::Bytes(meta)) => {
                let mut meta = Reader(meta);
                while let Some((number, wire)) = meta.field()? {
                    match (number, wire) {
                        (1, Wire::Bytes(text)) => kind_of.0 = utf8(text)?,
                        (2, Wire::Bytes(text)) => kind_of.1 = utf8(text)?,
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let (version, kind) = kind_of;
    let Some(index) = TABLE.of_kind(&version, &kind) else {
        return Err(ProtobufError::Unknown { version, kind });
    };
    let mut decoder = Decoder { path: String::new(), unknown: Vec::new() };
    let mut object = Map::new();
    decoder.fields(&TABLE.messages[index], raw, &mut object, 0)?;
    object.insert("apiVersion".into(), version.into());
    object.insert("kind".into(), kind.into());
    Ok((Value::Object(object), decoder.unknown))
}

/// How a message appears in JSON.
enum Message {
    /// As an object with these fields, by number.
    Object(HashMap<u32, Field>),
    /// As the text of field 1.
    Text,
    /// As a time stamp, in whole seconds or in microseconds.
    Time {
        micro: bool,
    },
    /// As Go's notation of a number of nanoseconds.
    Duration,
    IntOrString,
    /// As the JSON that field 1 holds.
    Json,
    /// As the value of that of these fields that is there: a list, else a message, else a plain value.
    Choice(HashMap<u32, Field>),
}

struct Field {
    /// `None`: the message's fields stand in its parent's object.
    name: Option<&'static str>,
    shape: Shape,
    of: Type,
    /// Whether a zero value says more than an absent one.
    zero_counts: bool,
}

impl Field {
    /// Whether a value says more than none at all would, as Go's `omitempty` has it.
    fn tells(&self, value: &Value) -> bool {
        match (&self.of, value) {
            // No time, and no quantity.
            (Type::Message(_), value) => !value.is_null() && value != "",
            _ if self.zero_counts => true,
            (_, Value::Bool(b)) => *b,
            (_, Value::Number(n)) => n.as_f64() != Some(0.0),
            (_, Value::String(s)) => !s.is_empty(),
            (_, value) => !value.is_null(),
        }
    }
}

enum Shape {
    One,
    List,
    Map,
}

enum Type {
    Text,
    Bytes,
    Int32,
    Int64,
    Bool,
    Double,
    Message(usize),
}

struct Table {
    messages: Vec<Message>,
    /// By name in lower case, `core.v1.pod`.
    by_name: HashMap<String, usize>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| Table::parse(include_str!("fields.tsv")));

impl Table {
    fn parse(text: &'static str) -> Self {
        let rows: Vec<[&'static str; 4]> =
            text.lines().filter_map(|line| line.split('\t').collect::<Vec<_>>().try_into().ok()).collect();
        let mut table = Self { messages: Vec::new(), by_name: HashMap::new() };
        for row in &rows {
            for name in [row[0], row[3].trim_start_matches(['[', ']', '{', '}', '?'])] {
                if name.contains('.') {
                    table.declare(name);
                }
            }
        }
        for [owner, number, name, of] in rows {
            let plain = of.trim_start_matches(['[', ']', '{', '}', '?']);
            let field = Field {
                name: Some(name).filter(|n| *n != "-"),
                shape: match of.as_bytes()[0] {
                    b'[' => Shape::List,
                    b'{' => Shape::Map,
                    _ => Shape::One,
                },
                of: match plain {
                    "string" => Type::Text,
                    "bytes" => Type::Bytes,
                    "int32" => Type::Int32,
                    "int64" => Type::Int64,
                    "bool" => Type::Bool,
                    "double" => Type::Double,
                    message => Type::Message(table.declare(message)),
                },
                zero_counts: of.starts_with('?'),
            };
            let owner = table.declare(owner);
            let message = &mut table.messages[owner];
            if name == "*" && matches!(message, Message::Object(_)) {
                *message = Message::Choice(HashMap::new());
            }
            if let (Message::Object(fields) | Message::Choice(fields), Ok(number)) = (message, number.parse())
            {
                fields.insert(number, field);
            }
        }
        table
    }

    fn declare(&mut self, name: &str) -> usize {
        if let Some(index) = self.by_name.get(&name.to_lowercase()) {
            return *index;
        }
        self.messages.push(match name {
            "resource.Quantity" => Message::Text,
            "meta.v1.Time" => Message::Time { micro: false },
            "meta.v1.MicroTime" => Message::Time { micro: true },
            "meta.v1.Duration" => Message::Duration,
            "intstr.IntOrString" => Message::IntOrString,
            "runtime.RawExtension" | "meta.v1.FieldsV1" | "apiextensions.v1.JSON" => Message::Json,
            _ => Message::Object(HashMap::new()),
        });
        self.by_name.insert(name.to_lowercase(), self.messages.len() - 1);
        self.messages.len() - 1
    }

    /// The message of a kind. Options such as `DeleteOptions` bear the version of the group they are used in.
    fn of_kind(&self, api_version: &str, kind: &str) -> Option<usize> {
        let (group, version) = api_version.split_once('/').unwrap_or(("core", api_version));
        let group = group.split('.').next().unwrap_or_default();
        let find = |name: String| self.by_name.get(&name.to_lowercase());
        let index = *find(format!("{group}.{version}.{kind}")).or_else(|| find(format!("meta.v1.{kind}")))?;
        matches!(self.messages[index], Message::Object(_)).then_some(index)
    }
}

/// What has been read so far of a body.
struct Decoder {
    /// Where the reader stands, as in `spec.containers[0]`.
    path: String,
    /// The fields that are not in the table.
    unknown: Vec<String>,
}

impl Decoder {
    fn unknown(&mut self, number: u32) {
        if self.unknown.len() < MAX_UNKNOWN {
            let mut path = self.path.clone();
            push_name(&mut path, &number.to_string());
            self.unknown.push(path);
        }
    }

    /// Reads a message's fields into `out`.
    fn fields(
        &mut self,
        message: &Message,
        bytes: &[u8],
        out: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<(), ProtobufError> {
        let Message::Object(fields) = message else { return Err(Malformed) };
        if depth > MAX_DEPTH {
            return Err(ProtobufError::TooDeep);
        }
        let length = self.path.len();
        let mut reader = Reader(bytes);
        while let Some((number, wire)) = reader.field()? {
            let Some(field) = fields.get(&number) else {
                self.unknown(number);
                continue;
            };
            let Some(name) = field.name else {
                let (Type::Message(inner), Wire::Bytes(bytes)) = (&field.of, wire) else {
                    return Err(Malformed);
                };
                self.fields(&TABLE.messages[*inner], bytes, out, depth + 1)?;
                continue;
            };
            push_name(&mut self.path, name);
            match field.shape {
                Shape::One => {
                    let value = self.value(&field.of, wire, depth)?;
                    if field.tells(&value) {
                        out.insert(name.into(), value);
                    }
                }
                Shape::List => {
                    if let Value::Array(list) = out.entry(name).or_insert_with(|| Value::Array(Vec::new())) {
                        push_index(&mut self.path, list.len());
                        list.push(self.value(&field.of, wire, depth)?);
                    }
                }
                Shape::Map => {
                    let Wire::Bytes(entry) = wire else { return Err(Malformed) };
                    let (key, value) = self.entry(&field.of, entry, depth)?;
                    if let Value::Object(map) = out.entry(name).or_insert_with(|| Value::Object(Map::new())) {
                        map.insert(key, value);
                    }
                }
            }
            self.path.truncate(length);
        }
        Ok(())
    }

    fn entry(&mut self, of: &Type, bytes: &[u8], depth: usize) -> Result<(String, Value), ProtobufError> {
        let mut key = String::new();
        let mut value = None;
        let mut reader = Reader(bytes);
        while let Some((number, wire)) = reader.field()? {
            match (number, wire) {
                (1, Wire::Bytes(text)) => key = utf8(text)?,
                (2, wire) => value = Some(wire),
                (number, _) => self.unknown(number),
            }
        }
        push_name(&mut self.path, &key);
        let value = value.unwrap_or(match of {
            Type::Text | Type::Bytes | Type::Message(_) => Wire::Bytes(&[]),
            Type::Int32 | Type::Int64 | Type::Bool => Wire::Number(0),
            Type::Double => Wire::Fixed64(0),
        });
        Ok((key, self.value(of, value, depth)?))
    }

    fn value(&mut self, of: &Type, wire: Wire<'_>, depth: usize) -> Result<Value, ProtobufError> {
        Ok(match (of, wire) {
            (Type::Text, Wire::Bytes(text)) => utf8(text)?.into(),
            (Type::Bytes, Wire::Bytes(bytes)) => STANDARD.encode(bytes).into(),
            (Type::Int32, Wire::Number(n)) => (n as i32).into(),
            (Type::Int64, Wire::Number(n)) => (n as i64).into(),
            (Type::Bool, Wire::Number(n)) => (n != 0).into(),
            (Type::Double, Wire::Fixed64(bits)) => {
                Number::from_f64(f64::from_bits(bits)).map_or(Value::Null, Value::Number)
            }
            (Type::Message(index), Wire::Bytes(bytes)) => {
                self.message(&TABLE.messages[*index], bytes, depth + 1)?
            }
            _ => return Err(Malformed),
        })
    }

    fn message(&mut self, message: &Message, bytes: &[u8], depth: usize) -> Result<Value, ProtobufError> {
        Ok(match message {
            Message::Object(_) => {
                let mut object = Map::new();
                self.fields(message, bytes, &mut object, depth)?;
                Value::Object(object)
            }
            Message::Choice(fields) => self.choice(fields, bytes, depth)?,
            Message::Text => utf8(self.first(bytes)?)?.into(),
            Message::Json => match self.first(bytes)? {
                [] => Value::Null,
                json => serde_json::from_slice(json).map_err(|_| Malformed)?,
            },
            Message::Time { micro } => self.time(bytes, *micro)?,
            Message::Duration => {
                let (nanos, _, _) = self.numbers(bytes)?;
                format!("{}s", nanos as f64 / 1e9).into()
            }
            Message::IntOrString => match self.numbers(bytes)? {
                (0, number, _) => number.into(),
                (_, _, text) => text.into(),
            },
        })
    }

    /// The value of a message that is one of several things.
    fn choice(
        &mut self,
        fields: &HashMap<u32, Field>,
        bytes: &[u8],
        depth: usize,
    ) -> Result<Value, ProtobufError> {
        if depth > MAX_DEPTH {
            return Err(ProtobufError::TooDeep);
        }
        let length = self.path.len();
        let (mut list, mut message, mut plain) = (Vec::new(), None, None);
        let mut reader = Reader(bytes);
        while let Some((number, wire)) = reader.field()? {
            let Some(field) = fields.get(&number) else {
                self.unknown(number);
                continue;
            };
            match (&field.shape, &field.of) {
                (Shape::List, of) => {
                    push_index(&mut self.path, list.len());
                    list.push(self.value(of, wire, depth)?);
                }
                (_, of @ Type::Message(_)) => message = Some(self.value(of, wire, depth)?),
                (_, of) => plain = Some(self.value(of, wire, depth)?),
            }
            self.path.truncate(length);
        }
        let only_lists = fields.values().all(|field| matches!(field.shape, Shape::List));
        if !list.is_empty() || only_lists {
            return Ok(Value::Array(list));
        }
        Ok(message.or(plain).unwrap_or(Value::Null))
    }

    /// The bytes of field 1, the only one; empty when it is missing.
    fn first<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], ProtobufError> {
        let mut found: &[u8] = &[];
        let mut reader = Reader(bytes);
        while let Some((number, wire)) = reader.field()? {
            match (number, wire) {
                (1, Wire::Bytes(bytes)) => found = bytes,
                (number, _) => self.unknown(number),
            }
        }
        Ok(found)
    }

    /// Fields 1 and 2 as numbers, field 3 as text.
    fn numbers(&mut self, bytes: &[u8]) -> Result<(i64, i64, String), ProtobufError> {
        let mut found = (0, 0, String::new());
        let mut reader = Reader(bytes);
        while let Some((number, wire)) = reader.field()? {
            match (number, wire) {
                (1, Wire::Number(n)) => found.0 = n as i64,
                (2, Wire::Number(n)) => found.1 = i64::from(n as i32),
                (3, Wire::Bytes(text)) => found.2 = utf8(text)?,
                (number, _) => self.unknown(number),
            }
        }
        Ok(found)
    }

    /// A time stamp; an empty message is no time at all.
    fn time(&mut self, bytes: &[u8], micro: bool) -> Result<Value, ProtobufError> {
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        let (seconds, nanos, _) = self.numbers(bytes)?;
        let nanos = i32::try_from(nanos).map_err(|_| Malformed)?;
        let stamp = Timestamp::new(seconds, if micro { nanos } else { 0 }).map_err(|_| Malformed)?;
        let format = if micro { "%Y-%m-%dT%H:%M:%S.%6fZ" } else { "%Y-%m-%dT%H:%M:%SZ" };
        Ok(stamp.strftime(format).to_string().into())
    }
}

fn utf8(bytes: &[u8]) -> Result<String, ProtobufError> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| Malformed)
}

/// A field's value on the wire.
enum Wire<'a> {
    Number(u64),
    Fixed64(u64),
    Fixed32,
    Bytes(&'a [u8]),
}

/// What is left of a message.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The next field; `None` at the end.
    fn field(&mut self) -> Result<Option<(u32, Wire<'a>)>, ProtobufError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| Malformed)?;
        let wire = match tag & 7 {
            0 => Wire::Number(self.varint()?),
            1 => {
                let bits = self.take(8)?.try_into().map_err(|_| Malformed)?;
                Wire::Fixed64(u64::from_le_bytes(bits))
            }
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
                Wire::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Wire::Fixed32
            }
            _ => return Err(Malformed),
        };
        Ok(Some((number, wire)))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], ProtobufError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, ProtobufError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(Malformed)?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }
}
