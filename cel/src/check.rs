//! Finds the type of every part of an expression, or says what does not fit, in `cel-go`'s words.

use std::fmt::Write as _;

use super::{
    ast::{Expr, Fold, How, Kind, Literal},
    library::{self, Overload},
    types::{Bindings, Type},
};

/// What does not fit, and where.
pub(super) struct Mistake {
    pub at: usize,
    pub why: String,
}

/// Names of types that can be used as values.
pub(super) const TYPE_NAMES: &[&str] = &[
    "bool",
    "int",
    "uint",
    "double",
    "string",
    "bytes",
    "list",
    "map",
    "null_type",
    "type",
    "optional_type",
];

/// The types of all nodes, by their numbers.
pub(super) fn check(
    expr: &Expr,
    nodes: usize,
    variables: &[(&str, Type)],
) -> Result<Vec<Type>, Vec<Mistake>> {
    let mut checker = Checker {
        types: vec![Type::Dyn; nodes],
        scope: variables.iter().map(|(name, ty)| ((*name).to_owned(), ty.clone())).collect(),
        mistakes: Vec::new(),
    };
    checker.check(expr);
    if checker.mistakes.is_empty() { Ok(checker.types) } else { Err(checker.mistakes) }
}

struct Checker {
    types: Vec<Type>,
    scope: Vec<(String, Type)>,
    mistakes: Vec<Mistake>,
}

impl Checker {
    fn mistake(&mut self, at: usize, why: impl Into<String>) -> Type {
        self.mistakes.push(Mistake { at, why: why.into() });
        Type::Dyn
    }

    fn check(&mut self, expr: &Expr) -> Type {
        let ty = self.type_of(expr);
        self.types[expr.id] = ty.clone();
        ty
    }

    fn type_of(&mut self, expr: &Expr) -> Type {
        match &expr.kind {
            Kind::Literal(literal) => match literal {
                Literal::Null => Type::Null,
                Literal::Bool(_) => Type::Bool,
                Literal::Int(_) => Type::Int,
                Literal::Uint(_) => Type::Uint,
                Literal::Double(_) => Type::Double,
                Literal::String(_) => Type::String,
                Literal::Bytes(_) => Type::Bytes,
            },
            Kind::Ident(name) => self.ident(expr.at, name),
            Kind::Select { of, field, optional } => self.select(expr.at, of, field, *optional),
            Kind::Has { of, field } => {
                self.select(expr.at, of, field, false);
                Type::Bool
            }
            Kind::Index { of, key, optional } => self.index(expr.at, of, key, *optional),
            Kind::Not(of) => self.call(expr.at, "!_", None, std::slice::from_ref(&**of)),
            Kind::Negate(of) => self.call(expr.at, "-_", None, std::slice::from_ref(&**of)),
            Kind::Binary(operator, left, right) => {
                let args = [self.check(left), self.check(right)];
                self.resolve(expr.at, operator.function(), None, &args)
            }
            Kind::And(left, right) => self.logic(expr.at, "_&&_", left, right),
            Kind::Or(left, right) => self.logic(expr.at, "_||_", left, right),
            Kind::Conditional(condition, yes, no) => self.conditional(expr.at, condition, yes, no),
            Kind::Call { target, name, args } => self.call(expr.at, name, target.as_deref(), args),
            Kind::List(items) => {
                let mut types = Vec::new();
                for (item, optional) in items {
                    let ty = self.check(item);
                    types.push((item.at, unwrapped(ty, *optional)));
                }
                Type::list(self.common(&types))
            }
            Kind::Map(entries) => {
                let (mut keys, mut values) = (Vec::new(), Vec::new());
                for (key, value, optional) in entries {
                    let ty = self.check(key);
                    keys.push((key.at, ty));
                    let ty = self.check(value);
                    values.push((value.at, unwrapped(ty, *optional)));
                }
                Type::map(self.common(&keys), self.common(&values))
            }
            Kind::Message { name, fields } => self.message(expr.at, name, fields),
            Kind::Fold(fold) => self.fold(expr.at, fold),
            Kind::Bind { var, value, body } => {
                let value = self.check(value);
                self.scope.push((var.clone(), value));
                let result = self.check(body);
                self.scope.pop();
                result
            }
            Kind::OptMap { target, var, body, flat } => {
                let of = match self.check(target) {
                    Type::Optional(of) => (*of).clone(),
                    Type::Dyn => Type::Dyn,
                    other => {
                        let why = format!("found no matching overload for 'optMap' applied to '{other}.()'");
                        return self.mistake(expr.at, why);
                    }
                };
                self.scope.push((var.clone(), of));
                let result = self.check(body);
                self.scope.pop();
                if *flat { result } else { Type::optional(result) }
            }
        }
    }

    fn ident(&mut self, at: usize, name: &str) -> Type {
        if let Some((_, ty)) = self.scope.iter().rev().find(|(n, _)| n == name) {
            return ty.clone();
        }
        if TYPE_NAMES.contains(&name) {
            return Type::Kind;
        }
        self.mistake(at, format!("undeclared reference to '{name}' (in container '')"))
    }

    fn select(&mut self, at: usize, of: &Expr, field: &str, optional: bool) -> Type {
        if let Some(name) = of.qualified().map(|space| format!("{space}.{field}")) {
            if ["google.protobuf.Duration", "google.protobuf.Timestamp"].contains(&name.as_str()) {
                return Type::Kind;
            }
            // A variable may have a name of several parts.
            if let Some((_, ty)) = self.scope.iter().rev().find(|(n, _)| *n == name) {
                return ty.clone();
            }
        }
        let ty = self.check(of);
        let (inner, wrapped) = match &ty {
            Type::Optional(inner) => ((**inner).clone(), true),
            other => (other.clone(), optional),
        };
        let found = match &inner {
            Type::Dyn => Type::Dyn,
            Type::Map(_, value) => (**value).clone(),
            Type::Object(object) => match object.0.field(field) {
                Some(decl) => Type::of(decl),
                None => return self.mistake(at, format!("undefined field '{field}'")),
            },
            other => {
                return self.mistake(at, format!("type '{other}' does not support field selection"));
            }
        };
        if wrapped { Type::optional(found) } else { found }
    }

    fn index(&mut self, at: usize, of: &Expr, key: &Expr, optional: bool) -> Type {
        let (ty, key_ty) = (self.check(of), self.check(key));
        let (inner, wrapped) = match &ty {
            Type::Optional(inner) => ((**inner).clone(), true),
            other => (other.clone(), optional),
        };
        let mut bindings = Bindings::default();
        let found = match &inner {
            Type::Dyn => Some(Type::Dyn),
            Type::List(item) if bindings.admit(&Type::Int, &key_ty) => Some((**item).clone()),
            Type::Map(wanted, value) if bindings.admit(wanted, &key_ty) => Some((**value).clone()),
            _ => None,
        };
        let Some(found) = found else {
            let why = format!("found no matching overload for '_[_]' applied to '({ty}, {key_ty})'");
            return self.mistake(at, why);
        };
        if wrapped { Type::optional(found) } else { found }
    }

    fn logic(&mut self, at: usize, name: &str, left: &Expr, right: &Expr) -> Type {
        let types = [self.check(left), self.check(right)];
        if types.iter().any(|ty| !matches!(ty, Type::Bool | Type::Dyn)) {
            let why = format!("found no matching overload for '{name}' applied to '{}'", shown(None, &types));
            self.mistake(at, why);
        }
        Type::Bool
    }

    fn conditional(&mut self, at: usize, condition: &Expr, yes: &Expr, no: &Expr) -> Type {
        let types = [self.check(condition), self.check(yes), self.check(no)];
        let mut bindings = Bindings::default();
        let formal = [Type::Bool, Type::Param('A'), Type::Param('A')];
        if formal.iter().zip(&types).all(|(formal, actual)| bindings.admit(formal, actual)) {
            return bindings.resolve(&Type::Param('A'));
        }
        let why = format!("found no matching overload for '_?_:_' applied to '{}'", shown(None, &types));
        self.mistake(at, why)
    }

    fn call(&mut self, at: usize, name: &str, target: Option<&Expr>, args: &[Expr]) -> Type {
        let target = target.map(|target| self.check(target));
        let args: Vec<Type> = args
            .iter()
            .map(|arg| match &arg.kind {
                // What is put into a text may be of any type.
                Kind::List(items) if name == "format" => {
                    items.iter().for_each(|(item, _)| drop(self.check(item)));
                    let ty = Type::list(Type::Dyn);
                    self.types[arg.id] = ty.clone();
                    ty
                }
                _ => self.check(arg),
            })
            .collect();
        self.resolve(at, name, target.as_ref(), &args)
    }

    /// The result of a call: that of the one overload that fits, or `dyn` when several do with different ones.
    fn resolve(&mut self, at: usize, name: &str, target: Option<&Type>, args: &[Type]) -> Type {
        let overloads = library::overloads(name);
        if overloads.is_empty() {
            return self.mistake(at, format!("undeclared reference to '{name}' (in container '')"));
        }
        let mut results = overloads.iter().filter_map(|overload| fit(overload, target, args));
        let Some(first) = results.next() else {
            let shown = shown(target, args);
            let why = format!("found no matching overload for '{name}' applied to '{shown}'");
            return self.mistake(at, why);
        };
        if results.all(|other| other == first) { first } else { Type::Dyn }
    }

    /// The type of all items of a literal: they must agree.
    fn common(&mut self, types: &[(usize, Type)]) -> Type {
        let Some((_, first)) = types.iter().find(|(_, ty)| *ty != Type::Null).or(types.first()) else {
            return Type::Dyn;
        };
        let first = first.clone();
        let mut result = first.clone();
        for (at, ty) in types {
            if !Bindings::default().admit(&first, ty) {
                self.mistake(*at, format!("expected type '{first}' but found '{ty}'"));
            } else if *ty == Type::Dyn {
                result = Type::Dyn;
            }
        }
        result
    }

    /// What is made by a type's name and fields: of the object that is patched any, of a patch those it has.
    fn message(&mut self, at: usize, name: &str, fields: &[(String, Expr, bool)]) -> Type {
        let (root, rest) = name.split_once('.').unwrap_or((name, ""));
        let found = self.scope.iter().find(|(n, ty)| n == root && matches!(ty, Type::Opaque(o) if o == n));
        let Some((_, ty)) = found else {
            return self.mistake(at, format!("undeclared reference to '{name}' (in container '')"));
        };
        let ty = if rest.is_empty() { ty.clone() } else { Type::Dyn };
        for (field, value, _) in fields {
            let given = self.check(value);
            if root != library::JSON_PATCH {
                continue;
            }
            match field.as_str() {
                "value" => {}
                "op" | "path" | "from" if matches!(given, Type::String | Type::Dyn) => {}
                "op" | "path" | "from" => {
                    let why = format!(
                        "expected type of field '{field}' is 'string' but provided type is '{given}'"
                    );
                    self.mistake(value.at, why);
                }
                _ => {
                    self.mistake(value.at, format!("undefined field '{field}'"));
                }
            }
        }
        ty
    }

    fn fold(&mut self, at: usize, fold: &Fold) -> Type {
        let range = self.check(&fold.range);
        let (first, second) = match &range {
            Type::List(item) => (Type::Int, (**item).clone()),
            Type::Map(key, value) => ((**key).clone(), (**value).clone()),
            Type::Dyn => (Type::Dyn, Type::Dyn),
            other => {
                let why = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                return self.mistake(fold.range.at, why);
            }
        };
        let depth = self.scope.len();
        let mut single = Type::Dyn;
        match fold.vars.as_slice() {
            [one] => {
                single = if matches!(range, Type::List(_)) { second } else { first.clone() };
                self.scope.push((one.clone(), single.clone()));
            }
            [one, two] => {
                self.scope.push((one.clone(), first.clone()));
                self.scope.push((two.clone(), second));
            }
            _ => {}
        }
        if let Some(filter) = &fold.filter {
            let ty = self.check(filter);
            if !matches!(ty, Type::Bool | Type::Dyn) {
                let name = match fold.how {
                    How::All => "_&&_",
                    How::Exists => "_||_",
                    _ => "_?_:_",
                };
                let why = format!("found no matching overload for '{name}' applied to '(bool, {ty})'");
                self.mistake(at, why);
            }
        }
        let body = fold.body.as_ref().map(|body| self.check(body));
        self.scope.truncate(depth);
        match fold.how {
            How::All | How::Exists | How::ExistsOne => Type::Bool,
            How::Filter => Type::list(single),
            How::Map => Type::list(body.unwrap_or(Type::Dyn)),
            How::TransformMap => Type::map(first, body.unwrap_or(Type::Dyn)),
            How::TransformMapEntry => match body {
                Some(map @ Type::Map(..)) => map,
                _ => Type::map(Type::Dyn, Type::Dyn),
            },
        }
    }
}

fn unwrapped(ty: Type, optional: bool) -> Type {
    match ty {
        Type::Optional(of) if optional => (*of).clone(),
        other => other,
    }
}

fn fit(overload: &Overload, target: Option<&Type>, args: &[Type]) -> Option<Type> {
    let mut bindings = Bindings::default();
    let fits = match (&overload.target, target) {
        (Some(formal), Some(actual)) => bindings.admit(formal, actual),
        (None, None) => true,
        _ => false,
    };
    (fits
        && overload.args.len() == args.len()
        && overload.args.iter().zip(args).all(|(formal, actual)| bindings.admit(formal, actual)))
    .then(|| bindings.resolve(&overload.result))
}

/// The types of a call's target and arguments.
fn shown(target: Option<&Type>, args: &[Type]) -> String {
    let mut text = String::new();
    if let Some(target) = target {
        let _infallible = write!(text, "{target}.");
    }
    let args: Vec<String> = args.iter().map(ToString::to_string).collect();
    let _infallible = write!(text, "({})", args.join(", "));
    text
}
