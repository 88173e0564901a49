//! The tree of a parsed expression.
//!
//! Macros (`all`, `map`, `has`, …) are nodes of their own instead of being unrolled into loops as `cel-go`
//! does; what the loops would have cost is counted all the same. Every node has a number, under which the
//! checker notes its type.

/// One node.
#[derive(Debug)]
pub(super) struct Expr {
    /// Number of the node.
    pub id: usize,
    /// Where messages point: offset in characters.
    pub at: usize,
    /// How many nodes stand above each other here, at most.
    pub height: usize,
    pub kind: Kind,
}

impl Expr {
    /// `a.b.c` of a chain of names.
    pub fn qualified(&self) -> Option<String> {
        match &self.kind {
            Kind::Ident(name) => Some(name.clone()),
            Kind::Select { of, field, optional: false } => Some(format!("{}.{field}", of.qualified()?)),
            _ => None,
        }
    }
}

#[derive(Debug)]
pub(super) enum Kind {
    Literal(Literal),
    Ident(String),
    /// `of.field`, or `of.?field`.
    Select {
        of: Box<Expr>,
        field: String,
        optional: bool,
    },
    /// `has(of.field)`
    Has {
        of: Box<Expr>,
        field: String,
    },
    /// `of[key]`, or `of[?key]`.
    Index {
        of: Box<Expr>,
        key: Box<Expr>,
        optional: bool,
    },
    Not(Box<Expr>),
    Negate(Box<Expr>),
    Binary(Operator, Box<Expr>, Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Conditional(Box<Expr>, Box<Expr>, Box<Expr>),
    /// A function, global (also a qualified one, such as `sets.contains`) or of a target.
    Call {
        target: Option<Box<Expr>>,
        name: String,
        args: Vec<Expr>,
    },
    /// Items; those marked with `?` are left out when they are empty optionals.
    List(Vec<(Expr, bool)>),
    Map(Vec<(Expr, Expr, bool)>),
    /// `Name{field: value}`; fields marked with `?` are left out when they are empty optionals.
    Message {
        name: String,
        fields: Vec<(String, Expr, bool)>,
    },
    Fold(Box<Fold>),
    /// The body, with a name for a value.
    Bind {
        var: String,
        value: Box<Expr>,
        body: Box<Expr>,
    },
    /// `target.optMap(var, body)` and `target.optFlatMap(var, body)`.
    OptMap {
        target: Box<Expr>,
        var: String,
        body: Box<Expr>,
        flat: bool,
    },
}

impl Expr {
    /// Whether this is a name and steps from there.
    pub fn is_attribute(&self) -> bool {
        match &self.kind {
            Kind::Ident(_) => true,
            Kind::Select { of, optional, .. } | Kind::Index { of, optional, .. } => {
                !optional && of.is_attribute()
            }
            _ => false,
        }
    }

    /// Whether this is the same for every object, as written.
    pub fn is_constant(&self) -> bool {
        match &self.kind {
            Kind::Literal(_) => true,
            Kind::List(items) => items.iter().all(|(item, optional)| !optional && item.is_constant()),
            Kind::Map(entries) => entries
                .iter()
                .all(|(key, value, optional)| !optional && key.is_constant() && value.is_constant()),
            _ => false,
        }
    }
}

impl Kind {
    /// The nodes right below this one.
    pub fn parts(&self) -> Vec<&Expr> {
        match self {
            Self::Literal(_) | Self::Ident(_) => Vec::new(),
            Self::Select { of, .. } | Self::Has { of, .. } | Self::Not(of) | Self::Negate(of) => vec![of],
            Self::Index { of: a, key: b, .. }
            | Self::Binary(_, a, b)
            | Self::And(a, b)
            | Self::Or(a, b)
            | Self::OptMap { target: a, body: b, .. }
            | Self::Bind { value: a, body: b, .. } => vec![a, b],
            Self::Conditional(a, b, c) => vec![a, b, c],
            Self::Call { target, args, .. } => target.as_deref().into_iter().chain(args).collect(),
            Self::List(items) => items.iter().map(|(item, _)| item).collect(),
            Self::Map(entries) => entries.iter().flat_map(|(key, value, _)| [key, value]).collect(),
            Self::Message { fields, .. } => fields.iter().map(|(_, value, _)| value).collect(),
            Self::Fold(fold) => [&fold.range].into_iter().chain(&fold.filter).chain(&fold.body).collect(),
        }
    }
}

/// A macro that goes through a list or a map.
#[derive(Debug)]
pub(super) struct Fold {
    pub how: How,
    pub range: Expr,
    /// One: the item, or the key of a map. Two: index and item, or key and value.
    pub vars: Vec<String>,
    /// What must hold for an item to be taken.
    pub filter: Option<Expr>,
    /// What is made of an item.
    pub body: Option<Expr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    All,
    Exists,
    ExistsOne,
    /// Also `transformList`.
    Map,
    Filter,
    TransformMap,
    TransformMapEntry,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
}

impl Operator {
    /// The function's name in messages and in the library.
    pub fn function(self) -> &'static str {
        match self {
            Self::Add => "_+_",
            Self::Subtract => "_-_",
            Self::Multiply => "_*_",
            Self::Divide => "_/_",
            Self::Modulo => "_%_",
            Self::Equal => "_==_",
            Self::NotEqual => "_!=_",
            Self::Less => "_<_",
            Self::LessEqual => "_<=_",
            Self::Greater => "_>_",
            Self::GreaterEqual => "_>=_",
            Self::In => "@in",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(String),
    Bytes(Vec<u8>),
}
