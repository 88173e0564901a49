//! Estimates what an expression costs at most, from its tree and the sizes that the schema allows.
//!
//! Counterpart of `cel-go`'s `checker/cost.go` with Kubernetes' `library/cost.go`. Which rules a definition may
//! have depends on these numbers, so they follow upstream's.

use std::sync::Arc;

use super::{
    ast::{Expr, Fold, How, Kind, Literal, Operator},
    cost::{
        APPEND, FORMAT_REGEX, INSERT, LIST, MAP, MESSAGE, NAME, REGEX, TRAVERSAL, fold_check, fold_end,
        fold_start, scale,
    },
    library,
    types::{Decl, Type},
};

/// From the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub min: u64,
    pub max: u64,
}

impl Range {
    const UNKNOWN: Self = Self { min: 0, max: u64::MAX };

    const fn fixed(n: u64) -> Self {
        Self { min: n, max: n }
    }

    fn plus(self, other: Self) -> Self {
        Self { min: self.min.saturating_add(other.min), max: self.max.saturating_add(other.max) }
    }

    fn times(self, other: Self) -> Self {
        Self { min: self.min.saturating_mul(other.min), max: self.max.saturating_mul(other.max) }
    }

    fn scaled(self, factor: f64) -> Self {
        Self { min: scale(self.min, factor), max: scale(self.max, factor) }
    }

    fn union(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }
}

/// What is known of a part of the expression.
#[derive(Debug, Clone)]
struct Part {
    cost: Range,
    /// The size of its value, where the expression tells.
    size: Option<Range>,
    /// The size of items, of a list that the expression makes.
    items: Option<Range>,
    /// Where the value comes from.
    place: Place,
    /// The value is a key of a map: of those the schema tells nothing.
    scalar: bool,
}

/// Where a value comes from.
#[derive(Debug, Clone, Default)]
enum Place {
    /// It is made by a call or a macro.
    #[default]
    Nowhere,
    /// From what a schema says nothing of.
    Lost,
    /// From what has a place in a schema.
    At(Arc<Decl>),
}

impl Part {
    fn costing(cost: Range) -> Self {
        Self { cost, size: None, items: None, place: Place::Nowhere, scalar: false }
    }

    fn sized(mut self, size: Range) -> Self {
        self.size = Some(size);
        self
    }

    fn size(&self) -> Range {
        match (&self.size, &self.place) {
            (Some(size), _) => *size,
            (None, Place::At(decl)) => Range { min: 0, max: decl.max_elements },
            (None, _) if self.scalar => Range::fixed(1),
            (None, _) => Range::UNKNOWN,
        }
    }

    /// The size of the value's items, as the schema has it.
    fn item_size(&self) -> Range {
        let element = match &self.place {
            Place::At(decl) => decl.element(),
            _ => None,
        };
        element.map_or(Range::UNKNOWN, |decl| Range { min: 0, max: decl.max_elements })
    }
}

/// The most an expression costs. `types` are those the checker found.
pub(super) fn estimate(expr: &Expr, types: &[Type], variables: &[(&str, Option<Arc<Decl>>)]) -> u64 {
    let scope = variables
        .iter()
        .map(|(name, decl)| {
            let place = decl.clone().map_or(Place::Nowhere, Place::At);
            ((*name).to_owned(), Part { place, ..Part::costing(Range::fixed(0)) })
        })
        .collect();
    let root = variables.first().and_then(|(_, decl)| decl.clone());
    Estimator { types, scope, root }.part(expr).cost.max
}

struct Estimator<'a> {
    types: &'a [Type],
    scope: Vec<(String, Part)>,
    /// The type of `self`.
    root: Option<Arc<Decl>>,
}

impl Estimator<'_> {
    /// The place of a part of a value. As `cel-go` has it, the first step from a value that comes from nowhere leads to the
    /// root of the schema.
    fn below(&self, place: &Place, step: impl Fn(&Decl) -> Option<&Arc<Decl>>) -> Place {
        match place {
            Place::At(decl) => step(decl).cloned().map_or(Place::Lost, Place::At),
            Place::Lost => Place::Lost,
            Place::Nowhere => self.root.clone().map_or(Place::Lost, Place::At),
        }
    }

    fn part(&mut self, expr: &Expr) -> Part {
        let mut part = self.of(expr);
        part.scalar |= self.types[expr.id].is_scalar();
        part
    }

    fn of(&mut self, expr: &Expr) -> Part {
        match &expr.kind {
            Kind::Literal(literal) => Part::costing(Range::fixed(0)).sized(Range::fixed(match literal {
                Literal::String(text) => text.chars().count() as u64,
                Literal::Bytes(bytes) => bytes.len() as u64,
                _ => 1,
            })),
            Kind::Ident(name) => {
                let known = self.scope.iter().rev().find(|(n, _)| n == name).map(|(_, part)| part.clone());
                let unknown = || {
                    let place = self.below(&Place::Nowhere, |_| None);
                    Part { place, ..Part::costing(Range::fixed(0)) }
                };
                Part { cost: Range::fixed(NAME), ..known.unwrap_or_else(unknown) }
            }
            Kind::Select { of, field, optional } => {
                let of = self.part(of);
                let place = self.below(&of.place, |decl| decl.field(field));
                let place = if *optional { Place::Nowhere } else { place };
                Part { place, ..Part::costing(of.cost.plus(Range::fixed(1))) }
            }
            Kind::Has { of, .. } => Part::costing(self.part(of).cost),
            Kind::Index { of, key, optional } => {
                let (of, key) = (self.part(of), self.part(key));
                let cost = of.cost.plus(key.cost).plus(Range::fixed(1));
                if *optional {
                    return Part::costing(cost);
                }
                let place = self.below(&of.place, Decl::element);
                Part { place, size: of.items, ..Part::costing(cost) }
            }
            Kind::Not(of) | Kind::Negate(of) => {
                Part::costing(self.part(of).cost.plus(Range::fixed(1))).sized(Range::fixed(1))
            }
            Kind::Binary(operator, left, right) => {
                let (own, other) = (&self.types[left.id], &self.types[right.id]);
                let (left, right) = (self.part(left), self.part(right));
                binary(*operator, (&left, own), (&right, other))
            }
            Kind::And(left, right) | Kind::Or(left, right) => {
                let (left, right) = (self.part(left).cost, self.part(right).cost);
                Part::costing(Range { min: left.min, max: left.plus(right).max }).sized(Range::fixed(1))
            }
            Kind::Conditional(condition, yes, no) => {
                let condition = self.part(condition).cost;
                let (yes, no) = (self.part(yes), self.part(no));
                let items = yes.items.zip(no.items).map(|(a, b)| a.union(b));
                let cost = condition.plus(yes.cost.union(no.cost));
                Part { items, ..Part::costing(cost).sized(yes.size().union(no.size())) }
            }
            Kind::Call { target, name, args } => self.call(target.as_deref(), name, args),
            Kind::List(items) => {
                let parts: Vec<Part> = items.iter().map(|(item, _)| self.part(item)).collect();
                let cost = parts.iter().fold(Range::fixed(LIST), |sum, part| sum.plus(part.cost));
                let sizes = parts.iter().map(Part::size).reduce(Range::union);
                let size = Range::fixed(items.len() as u64);
                Part { items: Some(sizes.unwrap_or(Range::fixed(0))), ..Part::costing(cost).sized(size) }
            }
            Kind::Map(entries) => {
                let mut cost = Range::fixed(MAP);
                let mut sizes = Range::fixed(0);
                for (key, value, _) in entries {
                    let (key, value) = (self.part(key), self.part(value));
                    cost = cost.plus(key.cost).plus(value.cost);
                    sizes = sizes.union(value.size());
                }
                let size = Range::fixed(entries.len() as u64);
                Part { items: Some(sizes), ..Part::costing(cost).sized(size) }
            }
            Kind::Message { fields, .. } => {
                let mut cost = Range::fixed(MESSAGE);
                for (_, value, _) in fields {
                    cost = cost.plus(self.part(value).cost);
                }
                Part::costing(cost)
            }
            Kind::Fold(fold) => self.fold(fold),
            Kind::Bind { var, value, body } => {
                let value = self.part(value);
                // `cel-go` makes an empty list to go through.
                let cost = value.cost.plus(Range::fixed(LIST));
                self.scope.push((var.clone(), value));
                let body = self.part(body);
                self.scope.pop();
                Part { cost: cost.plus(body.cost), ..body }
            }
            Kind::OptMap { target, var, body, flat } => {
                // `t.hasValue() ? optional.of(bind(var, t.value(), body)) : optional.none()`
                let target = self.part(target).cost;
                self.scope.push((var.clone(), Part::costing(Range::fixed(0))));
                let body = self.part(body).cost;
                self.scope.pop();
                let made = Range::fixed(LIST + 1 + u64::from(!flat)).plus(target).plus(body);
                Part::costing(target.plus(Range::fixed(1)).plus(made.union(Range::fixed(1))))
            }
        }
    }

    fn fold(&mut self, fold: &Fold) -> Part {
        let range = self.part(&fold.range);
        let keyed = matches!(self.types[fold.range.id], Type::Map(..));
        let unknown = Part::costing(Range::fixed(0));
        let place = self.below(&range.place, Decl::element);
        let size = range.items.filter(|_| matches!(place, Place::Lost));
        let item = Part { size, place, ..unknown.clone() };
        // Keys of a map are texts of which the schema says nothing.
        let key = Part { size: keyed.then_some(Range::fixed(0)), scalar: !keyed, ..unknown };
        let depth = self.scope.len();
        match fold.vars.as_slice() {
            [one] => self.scope.push((one.clone(), if keyed { key } else { item })),
            [one, two] => {
                self.scope.push((one.clone(), key));
                self.scope.push((two.clone(), item));
            }
            _ => {}
        }
        let filter = fold.filter.as_ref().map(|filter| self.part(filter).cost);
        let body = fold.body.as_ref().map(|body| self.part(body));
        self.scope.truncate(depth);
        let made = body.as_ref().map_or(Range::fixed(0), |body| body.cost);
        let step = match fold.how {
            How::All | How::Exists => {
                Range { min: 1, max: filter.unwrap_or(Range::fixed(0)).max.saturating_add(1) }
            }
            How::ExistsOne => Range { min: 1, max: 2 },
            How::Filter => Range { min: 1, max: APPEND + 1 },
            How::Map => made.plus(Range::fixed(APPEND)),
            How::TransformMap | How::TransformMapEntry => made.plus(Range::fixed(INSERT)),
        };
        let step = match (fold.how, filter) {
            (How::All | How::Exists, _) | (_, None) => step,
            (_, Some(filter)) => filter.plus(Range { min: 1, max: step.max }),
        };
        let count = range.size();
        let loops = count.times(step.plus(Range::fixed(fold_check(fold.how))));
        let cost = range.cost.plus(Range::fixed(fold_start(fold.how) + fold_end(fold.how))).plus(loops);
        let result = Part::costing(cost);
        match fold.how {
            How::All | How::Exists | How::ExistsOne => result.sized(Range::fixed(1)),
            How::Filter => {
                let item = range.items.unwrap_or(range.item_size());
                Part { items: Some(item.union(Range::fixed(0))), ..result.sized(count) }
            }
            _ => {
                let items = body.map(|body| body.size().union(Range::fixed(0)));
                Part { items, ..result.sized(count) }
            }
        }
    }

    fn call(&mut self, target: Option<&Expr>, name: &str, args: &[Expr]) -> Part {
        let opaque = |expr: &Expr| match &self.types[expr.id] {
            Type::Opaque(name) => Some(*name),
            _ => None,
        };
        let of_opaque = target.and_then(opaque);
        let text_argument = args.first().is_some_and(|arg| opaque(arg).is_none());
        let bounds = args.iter().map(|arg| match arg.kind {
            Kind::Literal(Literal::Int(n)) => Some(u64::try_from(n).unwrap_or(0)),
            _ => None,
        });
        let bounds: Vec<Option<u64>> = bounds.collect();
        let compared = if name == library::SORT_BY { args.first() } else { target };
        let compared = compared.and_then(|list| match &self.types[list.id] {
            Type::List(item) if matches!(**item, Type::String | Type::Bytes) => Some(Compared::Texts),
            Type::List(_) => Some(Compared::Others),
            _ => None,
        });
        let first = args.first().map_or(&Type::Dyn, |arg| &self.types[arg.id]);
        let target = target.map(|target| self.part(target));
        let args: Vec<Part> = args.iter().map(|arg| self.part(arg)).collect();
        let given = target.iter().chain(&args).fold(Range::fixed(0), |sum, part| sum.plus(part.cost));
        if name == "dyn"
            && let Some(arg) = args.first()
        {
            return Part { cost: given.plus(Range::fixed(1)), ..arg.clone() };
        }
        let mut call = match (&target, of_opaque) {
            (Some(_), Some(kind)) => opaque_call(kind, name, &args, text_argument),
            (Some(target), None) => member_call(name, target, &args, &bounds, compared),
            (None, _) => global_call(name, &args, &bounds, first),
        };
        call.cost = call.cost.plus(given);
        call
    }
}

/// What of a list is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compared {
    Texts,
    Others,
}

/// The most that a named format is taken to be.
const MAX_FORMAT: u64 = 64;

/// A call that makes a list of a size.
fn made_list(factor: f64, size: Range) -> Part {
    Part::costing(size.scaled(factor).plus(Range::fixed(1 + LIST))).sized(size)
}

fn one() -> Part {
    Part::costing(Range::fixed(1))
}

fn binary(operator: Operator, (left, ty): (&Part, &Type), (right, other): (&Part, &Type)) -> Part {
    let given = left.cost.plus(right.cost);
    let (a, b) = (left.size(), right.size());
    let is_text = |ty: &Type| matches!(ty, Type::String | Type::Bytes | Type::Dyn);
    let is_list = |ty: &Type| matches!(ty, Type::List(_));
    let compared = || {
        let max = a.max.min(b.max);
        Range { min: u64::from(max > 0), max }.scaled(TRAVERSAL)
    };
    let cost = match (operator, ty) {
        (Operator::Equal, Type::Opaque(library::URL)) => {
            let size = right.size.map_or(1, |size| size.max);
            Range { min: 1, max: size }.scaled(TRAVERSAL)
        }
        (Operator::Equal, Type::Opaque(library::FORMAT)) => {
            Range { min: 1, max: MAX_FORMAT }.scaled(TRAVERSAL)
        }
        (Operator::Equal, Type::Opaque(_)) => Range::fixed(1),
        (Operator::Equal | Operator::NotEqual, _) => compared(),
        (Operator::Less | Operator::LessEqual | Operator::Greater | Operator::GreaterEqual, ty)
            if is_text(ty) =>
        {
            compared()
        }
        (Operator::Add, _) if is_list(ty) || is_list(other) => {
            let items = left.items.zip(right.items).map(|(a, b)| a.union(b));
            return Part { items, ..Part::costing(given.plus(Range::fixed(1))).sized(a.plus(b)) };
        }
        (Operator::Add, ty) if is_text(ty) => {
            let size = a.plus(b);
            return Part::costing(given.plus(size.scaled(TRAVERSAL))).sized(size);
        }
        (Operator::In, _) if is_list(other) || *other == Type::Dyn => b,
        _ => Range::fixed(1),
    };
    Part::costing(given.plus(cost))
}

fn regex_cost(text: Range, expression: Range) -> Range {
    text.plus(Range::fixed(1)).scaled(TRAVERSAL).times(expression.scaled(REGEX))
}

/// `bounds`: those arguments that are whole numbers. `compared`: what items of lists are compared.
fn member_call(
    name: &str,
    target: &Part,
    args: &[Part],
    bounds: &[Option<u64>],
    compared: Option<Compared>,
) -> Part {
    let size = target.size();
    let argument = |at: usize| args.get(at).map_or(Range::UNKNOWN, Part::size);
    let pairs = if compared == Some(Compared::Texts) { 2.0 + TRAVERSAL } else { 2.0 };
    match name {
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => Part::costing(match compared {
            None => size.scaled(TRAVERSAL),
            Some(Compared::Texts) => size.times(Range::fixed(1).plus(target.item_size().scaled(TRAVERSAL))),
            Some(Compared::Others) => size,
        }),
        "slice" => made_list(
            1.0,
            Range::fixed({
                let bound = |at: usize| bounds.get(at).copied().flatten();
                bound(1).unwrap_or(size.max).wrapping_sub(bound(0).unwrap_or(0))
            }),
        ),
        "reverse" => made_list(1.0, size),
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        "flatten" => made_list(
            args.first().map_or(1.0, |_| bounds.first().copied().flatten().unwrap_or(u64::MAX) as f64),
            size,
        ),
        "distinct" => made_list(2.0, size.times(size)),
        "sort" => made_list(pairs, size.times(size)),
        library::SORT_BY => {
            let keys = argument(0);
            made_list(pairs, keys.times(keys))
        }
        "lowerAscii" | "upperAscii" | "substring" | "trim" => {
            Part::costing(size.scaled(TRAVERSAL)).sized(size)
        }
        "replace" => {
            Part::costing(size.scaled(2.0 * TRAVERSAL)).sized(replaced(size, argument(0), argument(1)))
        }
        "split" => {
            let parts = Range { min: 0, max: bounds.get(1).copied().flatten().unwrap_or(size.max) };
            Part::costing(size.scaled(2.0 * TRAVERSAL)).sized(parts)
        }
        "join" => {
            let separators = Range { min: size.min.saturating_sub(1), max: size.max.saturating_sub(1) };
            let separator = if args.is_empty() { Range::fixed(0) } else { argument(0) };
            let joined = size.times(target.item_size()).plus(separator.times(separators));
            Part::costing(joined.scaled(TRAVERSAL)).sized(joined)
        }
        "matches" => Part::costing(regex_cost(size, argument(0))),
        "find" | "findAll" => {
            let found = Range { min: 0, max: size.max };
            Part::costing(regex_cost(size, argument(0))).sized(found)
        }
        "contains" => Part::costing(size.scaled(TRAVERSAL).times(argument(0).scaled(TRAVERSAL))),
        "startsWith" | "endsWith" => Part::costing(argument(0).scaled(TRAVERSAL)),
        "format" => Part::costing(size.scaled(TRAVERSAL)),
        _ => one(),
    }
}

/// The size of a text in which parts were replaced.
fn replaced(size: Range, from: Range, to: Range) -> Range {
    let most = match from.min {
        0 => size.max.saturating_add(1).saturating_mul(to.max).saturating_add(size.max),
        _ if to.max <= from.min => size.max,
        least => size.max.div_ceil(least).saturating_mul(to.max),
    };
    let fewest = match from.max {
        0 => size.min.saturating_add(1).saturating_mul(to.min).saturating_add(size.min),
        _ if from.max <= to.min => size.min,
        longest => size.min.div_ceil(longest).saturating_mul(to.min),
    };
    Range { min: fewest, max: most }
}

fn opaque_call(kind: &str, name: &str, args: &[Part], text_argument: bool) -> Part {
    let bytes = Range { min: 4, max: 16 };
    let parse = || match args.first() {
        Some(arg) if text_argument => arg.size().scaled(TRAVERSAL),
        _ => Range::fixed(0),
    };
    match (kind, name) {
        (library::CIDR, "containsIP") => Part::costing(bytes.plus(bytes).scaled(TRAVERSAL).plus(parse())),
        (library::CIDR, "containsCIDR") => Part::costing(
            bytes
                .plus(bytes)
                .scaled(TRAVERSAL)
                .plus(bytes.scaled(TRAVERSAL))
                .plus(Range::fixed(1))
                .plus(parse()),
        ),
        (library::FORMAT, "validate") => {
            let text = args.first().map_or(Range::UNKNOWN, Part::size);
            #[expect(clippy::cast_precision_loss, reason = "is a small number")]
            let regex = FORMAT_REGEX as f64 * REGEX;
            Part::costing(text.scaled(TRAVERSAL).scaled(regex))
        }
        _ => one(),
    }
}

fn global_call(name: &str, args: &[Part], bounds: &[Option<u64>], ty: &Type) -> Part {
    let size = |at: usize| args.get(at).map_or(Range::UNKNOWN, Part::size);
    match name {
        "url" => Part::costing(size(0).scaled(TRAVERSAL)).sized(size(0)),
        "matches" => Part::costing(regex_cost(size(0), size(1))),
        "bytes" if *ty == Type::String => {
            let bytes = Range { min: size(0).min, max: size(0).max.saturating_mul(4) };
            Part::costing(size(0).scaled(TRAVERSAL)).sized(bytes)
        }
        "string" if *ty == Type::Bytes => {
            let text = Range { min: size(0).min / 4, max: size(0).max };
            Part::costing(size(0).scaled(TRAVERSAL)).sized(text)
        }
        "cidr" | "ip" | "isIP" | "isCIDR" | "quantity" | "isQuantity" | "semver" | "isSemver" => {
            Part::costing(size(0).scaled(TRAVERSAL))
        }
        "ip.isCanonical" => Part::costing(size(0).scaled(2.0 * TRAVERSAL)),
        "jsonpatch.escapeKey" => Part::costing(size(0).scaled(TRAVERSAL)).sized(size(0)),
        "strings.quote" => {
            let quoted = Range {
                min: size(0).min.saturating_add(2),
                max: size(0).max.saturating_mul(2).saturating_add(2),
            };
            Part::costing(size(0).scaled(TRAVERSAL)).sized(quoted)
        }
        "lists.range" => {
            let count = bounds.first().copied().flatten().unwrap_or(u64::MAX);
            made_list(1.0, Range::fixed(count))
        }
        "sets.contains" | "sets.intersects" => Part::costing(size(0).times(size(1)).plus(Range::fixed(1))),
        "sets.equivalent" => {
            Part::costing(size(0).times(size(1)).times(Range::fixed(2)).plus(Range::fixed(1)))
        }
        _ => one(),
    }
}
