//! Types of expressions, and declarations: types that know from a schema how large their values may become.

use std::{collections::BTreeMap, fmt, sync::Arc};

/// The largest request that is read, from which sizes without a declared limit are estimated.
pub const MAX_REQUEST: u64 = 3 * 1024 * 1024;
/// How deep what an expression makes is declared: variables that nest one another would exhaust the stack.
const MAX_DEPTH: usize = 64;

/// The type of an expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Type {
    Dyn,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Duration,
    Timestamp,
    /// A type as a value.
    Kind,
    List(Arc<Type>),
    Map(Arc<Type>, Arc<Type>),
    Optional(Arc<Type>),
    Object(ObjectType),
    /// A type of one of the libraries, by its full name.
    Opaque(&'static str),
    /// A placeholder in a signature.
    Param(char),
}

/// An object type. Two are the same if they come from the same place of the same schema.
#[derive(Debug, Clone)]
pub(super) struct ObjectType(pub Arc<Decl>);

impl PartialEq for ObjectType {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Type {
    pub fn list(item: Type) -> Self {
        Self::List(item.into())
    }

    pub fn map(key: Type, value: Type) -> Self {
        Self::Map(key.into(), value.into())
    }

    pub fn optional(of: Type) -> Self {
        Self::Optional(of.into())
    }

    /// The type of a declared value.
    pub fn of(decl: &Arc<Decl>) -> Self {
        match &decl.shape {
            Shape::Dyn => Self::Dyn,
            Shape::Bool => Self::Bool,
            Shape::Int => Self::Int,
            Shape::Double => Self::Double,
            Shape::String => Self::String,
            Shape::Bytes => Self::Bytes,
            Shape::Duration => Self::Duration,
            Shape::Timestamp => Self::Timestamp,
            Shape::List { item, .. } => Self::list(Self::of(item)),
            Shape::Map { value } => Self::map(Self::String, Self::of(value)),
            Shape::Opaque(name) => Self::Opaque(name),
            Shape::Object { .. } => Self::Object(ObjectType(Arc::clone(decl))),
        }
    }

    /// The declaration of what is made by an expression of this type; what none can say is `dyn`.
    pub fn decl(&self) -> Arc<Decl> {
        self.decl_within(MAX_DEPTH)
    }

    fn decl_within(&self, depth: usize) -> Arc<Decl> {
        let shape = match self {
            Self::Object(object) => return Arc::clone(&object.0),
            Self::Bool => Shape::Bool,
            Self::Int => Shape::Int,
            Self::Double => Shape::Double,
            Self::String => Shape::String,
            Self::Bytes => Shape::Bytes,
            Self::Duration => Shape::Duration,
            Self::Timestamp => Shape::Timestamp,
            Self::Opaque(name) => Shape::Opaque(name),
            Self::List(_) | Self::Map(..) if depth == 0 => Shape::Dyn,
            Self::List(item) => Shape::List { item: item.decl_within(depth - 1), kind: ListKind::Atomic },
            Self::Map(key, value) if **key == Self::String => {
                Shape::Map { value: value.decl_within(depth - 1) }
            }
            _ => Shape::Dyn,
        };
        Arc::new(Decl { shape, max_elements: MAX_REQUEST, min_size: 1 })
    }

    /// Whether a null may stand for a value of this type.
    fn takes_null(&self) -> bool {
        matches!(
            self,
            Self::Object(_) | Self::Duration | Self::Timestamp | Self::Opaque(_) | Self::Optional(_)
        )
    }

    /// Whether all values have the same size.
    pub fn is_scalar(&self) -> bool {
        match self {
            Self::Bool | Self::Int | Self::Uint | Self::Double | Self::Duration | Self::Timestamp => true,
            Self::Optional(of) => of.is_scalar(),
            _ => false,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dyn => "dyn",
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Duration => "google.protobuf.Duration",
            Self::Timestamp => "google.protobuf.Timestamp",
            Self::Kind => "type",
            Self::Object(_) => "object",
            Self::Opaque(name) => name,
            Self::List(item) => return write!(f, "list({item})"),
            Self::Map(key, value) => return write!(f, "map({key}, {value})"),
            Self::Optional(of) => return write!(f, "optional_type({of})"),
            Self::Param(name) => return write!(f, "{name}"),
        })
    }
}

/// What placeholders of a signature stand for in one call.
#[derive(Debug, Default, Clone)]
pub(super) struct Bindings(Vec<(char, Type)>);

impl Bindings {
    /// Whether a value of type `actual` may be given where `formal` is asked for.
    pub fn admit(&mut self, formal: &Type, actual: &Type) -> bool {
        match (formal, actual) {
            (Type::Param(name), _) => match self.0.iter().position(|(n, _)| n == name) {
                None => {
                    self.0.push((*name, actual.clone()));
                    true
                }
                Some(at) => {
                    let bound = self.0[at].1.clone();
                    if self.0[at].1 == Type::Null || *actual == Type::Dyn {
                        self.0[at].1 = actual.clone();
                    }
                    self.admit(&bound, actual)
                }
            },
            (Type::Dyn, _) | (_, Type::Dyn) => true,
            (Type::Null, other) | (other, Type::Null) => *other == Type::Null || other.takes_null(),
            (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => self.admit(a, b),
            (Type::Map(a, x), Type::Map(b, y)) => self.admit(a, b) && self.admit(x, y),
            (a, b) => a == b,
        }
    }

    /// A signature's type with the placeholders replaced.
    pub fn resolve(&self, ty: &Type) -> Type {
        match ty {
            Type::Param(name) => {
                self.0.iter().find(|(n, _)| n == name).map_or(Type::Dyn, |(_, bound)| bound.clone())
            }
            Type::List(item) => Type::list(self.resolve(item)),
            Type::Optional(of) => Type::optional(self.resolve(of)),
            Type::Map(key, value) => Type::map(self.resolve(key), self.resolve(value)),
            other => other.clone(),
        }
    }
}

/// A type as a schema declares it, with what is known of the size of its values.
#[derive(Debug, Clone, PartialEq)]
pub struct Decl {
    /// What the values are.
    pub shape: Shape,
    /// The most characters, bytes, items or entries a value can have.
    pub max_elements: u64,
    /// The fewest bytes a value takes in a request.
    pub min_size: u64,
}

/// What the values of a [`Decl`] are.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// Anything, at all depths.
    Dyn,
    /// `true` or `false`
    Bool,
    /// A number without a fraction.
    Int,
    /// Any number.
    Double,
    /// Text.
    String,
    /// Base64 in JSON.
    Bytes,
    /// Text such as `1h30m`.
    Duration,
    /// A day or a moment.
    Timestamp,
    /// A list.
    List {
        /// Its items.
        item: Arc<Decl>,
        /// How two lists compare and add up.
        kind: ListKind,
    },
    /// Any names, values of one type.
    Map {
        /// The values.
        value: Arc<Decl>,
    },
    /// A type of a library that has no form in JSON, by its full name.
    Opaque(&'static str),
    /// Named fields: by the name under which expressions know them, the name in JSON and the type.
    Object {
        /// The fields.
        fields: BTreeMap<String, (String, Arc<Decl>)>,
    },
}

/// How the items of a list are told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListKind {
    /// By their place.
    Atomic,
    /// By their value.
    Set,
    /// By the values of these fields.
    Map(Arc<[String]>),
}

impl Decl {
    /// A type whose values have one size.
    pub fn scalar(shape: Shape, min_size: u64) -> Self {
        Self { shape, max_elements: 0, min_size }
    }

    /// How many values of this type one request can hold at most.
    pub fn max_cardinality(&self) -> u64 {
        MAX_REQUEST / (self.min_size + 1)
    }

    /// The declared type of a field, of all items, or of all values.
    pub fn field(&self, name: &str) -> Option<&Arc<Decl>> {
        match &self.shape {
            Shape::Object { fields } => fields.get(name).map(|(_, decl)| decl),
            Shape::Map { value } => Some(value),
            _ => None,
        }
    }

    /// The declared type of items or values.
    pub fn element(&self) -> Option<&Arc<Decl>> {
        match &self.shape {
            Shape::List { item, .. } => Some(item),
            Shape::Map { value } => Some(value),
            _ => None,
        }
    }
}

/// Words that are no names in expressions.
pub const RESERVED: &[&str] = &[
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// The name under which expressions know a field; `None` when they cannot name it.
pub fn escape(name: &str) -> Option<String> {
    if RESERVED.contains(&name) {
        return Some(format!("__{name}__"));
    }
    let mut chars = name.chars();
    let first = chars.next()?;
    if !(first.is_ascii_alphabetic() || "_.-/".contains(first))
        || !chars.all(|c| c.is_ascii_alphanumeric() || "_.-/".contains(c))
    {
        return None;
    }
    Some(
        name.replace("__", "\0")
            .replace('.', "__dot__")
            .replace('-', "__dash__")
            .replace('/', "__slash__")
            .replace('\0', "__underscores__"),
    )
}
