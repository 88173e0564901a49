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
    decl: Option<Arc<Decl>>,
    /// The value is a key of a map: of those the schema tells nothing.
    scalar: bool,
}

impl Part {
    fn costing(cost: Range) -> Self {
        Self { cost, size: None, items: None, decl: None, scalar: false }
    }

    fn sized(mut self, size: Range) -> Self {
        self.size = Some(size);
        self
    }

    fn size(&self) -> Range {
        match (&self.size, &self.decl) {
            (Some(size), _) => *size,
            (None, Some(decl)) => Range { min: 0, max: decl.max_elements },
            (None, None) if self.scalar => Range::fixed(1),
            (None, None) => Range::UNKNOWN,
        }
    }

    /// The size of the value's items.
    fn item_size(&self) -> Range {
        match (&self.items, self.decl.as_ref().and_then(|decl| decl.element())) {
            (Some(size), _) => *size,
            (None, Some(decl)) => Range { min: 0, max: decl.max_elements },
            (None, None) => Range::UNKNOWN,
        }
    }
}

/// The most an expression costs. `types` are those the checker found.
pub(super) fn estimate(expr: &Expr, types: &[Type], variables: &[(&str, Option<Arc<Decl>>)]) -> u64 {
    let scope = variables
        .iter()
        .map(|(name, decl)| {
            ((*name).to_owned(), Part { decl: decl.clone(), ..Part::costing(Range::fixed(0)) })
        })
        .collect();
    Estimator { types, scope }.part(expr).cost.max
}

struct Estimator<'a> {
    types: &'a [Type],
    scope: Vec<(String, Part)>,
}

impl Estimator<'_> {
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
                Part { cost: Range::fixed(NAME), ..known.unwrap_or(Part::costing(Range::fixed(0))) }
            }
            Kind::Select { of, field, .. } => {
                let of = self.part(of);
                let decl = of.decl.as_ref().and_then(|decl| decl.field(field)).cloned();
                Part { decl, ..Part::costing(of.cost.plus(Range::fixed(1))) }
            }
            Kind::Has { of, .. } => Part::costing(self.part(of).cost),
            Kind::Index { of, key, .. } => {
                let (of, key) = (self.part(of), self.part(key));
                let decl = of.decl.as_ref().and_then(|decl| decl.element()).cloned();
                let cost = of.cost.plus(key.cost).plus(Range::fixed(1));
                Part { decl, size: of.items, ..Part::costing(cost) }
            }
            Kind::Not(of) | Kind::Negate(of) => {
                Part::costing(self.part(of).cost.plus(Range::fixed(1))).sized(Range::fixed(1))
            }
            Kind::Binary(operator, left, right) => {
                let opaque = matches!(self.types[left.id], Type::Opaque(_));
                let (left, right) = (self.part(left), self.part(right));
                binary(*operator, &left, &right, opaque)
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
            Kind::OptMap { target, var, body, .. } => {
                let target = self.part(target);
                let cost = target.cost;
                self.scope.push((var.clone(), target));
                let body = self.part(body);
                self.scope.pop();
                Part { cost: cost.plus(body.cost).plus(Range { min: 1, max: 2 }), ..body }
            }
        }
    }

    fn fold(&mut self, fold: &Fold) -> Part {
        let range = self.part(&fold.range);
        let keyed = matches!(self.types[fold.range.id], Type::Map(..));
        let unknown = Part::costing(Range::fixed(0));
        let item = Part {
            size: range.items,
            decl: range.decl.as_ref().and_then(|decl| decl.element()).cloned(),
            ..unknown.clone()
        };
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
            How::Filter => Part { items: range.items, decl: range.decl, ..result.sized(count) },
            _ => Part { items: body.map(|body| body.size()), ..result.sized(count) },
        }
    }

    fn call(&mut self, target: Option<&Expr>, name: &str, args: &[Expr]) -> Part {
        let opaque = |expr: &Expr| match &self.types[expr.id] {
            Type::Opaque(name) => Some(*name),
            _ => None,
        };
        let of_opaque = target.and_then(opaque);
        let text_argument = args.first().is_some_and(|arg| opaque(arg).is_none());
        let limit = match args.get(1).map(|arg| &arg.kind) {
            Some(Kind::Literal(Literal::Int(n))) => u64::try_from(*n).ok(),
            _ => None,
        };
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
            (Some(target), None) => member_call(name, target, &args, limit),
            (None, _) => global_call(name, &args),
        };
        call.cost = call.cost.plus(given);
        call
    }
}

fn one() -> Part {
    Part::costing(Range::fixed(1))
}

fn binary(operator: Operator, left: &Part, right: &Part, opaque: bool) -> Part {
    let given = left.cost.plus(right.cost);
    let (a, b) = (left.size(), right.size());
    match operator {
        Operator::Equal | Operator::NotEqual if opaque => Part::costing(given.plus(Range::fixed(1))),
        Operator::Equal
        | Operator::NotEqual
        | Operator::Less
        | Operator::LessEqual
        | Operator::Greater
        | Operator::GreaterEqual => {
            let max = a.max.min(b.max);
            let compared = Range { min: u64::from(max > 0), max };
            Part::costing(given.plus(compared.scaled(TRAVERSAL))).sized(Range::fixed(1))
        }
        Operator::Add if left.scalar || right.scalar => Part::costing(given.plus(Range::fixed(1))),
        Operator::Add => {
            let size = a.plus(b);
            let items = left.items.zip(right.items).map(|(a, b)| a.union(b));
            let list =
                left.decl.as_ref().or(right.decl.as_ref()).is_some_and(|decl| decl.element().is_some());
            let cost = if list || items.is_some() { Range::fixed(1) } else { size.scaled(TRAVERSAL) };
            Part { items, ..Part::costing(given.plus(cost)).sized(size) }
        }
        Operator::In => {
            let map = right.decl.as_ref().is_some_and(|decl| {
                matches!(decl.shape, super::types::Shape::Map { .. } | super::types::Shape::Object { .. })
            });
            let cost = if map { Range::fixed(1) } else { b };
            Part::costing(given.plus(cost)).sized(Range::fixed(1))
        }
        _ => Part::costing(given.plus(Range::fixed(1))),
    }
}

fn regex_cost(text: Range, expression: Range) -> Range {
    text.plus(Range::fixed(1)).scaled(TRAVERSAL).times(expression.scaled(REGEX))
}

fn member_call(name: &str, target: &Part, args: &[Part], limit: Option<u64>) -> Part {
    let size = target.size();
    let argument = |at: usize| args.get(at).map_or(Range::UNKNOWN, Part::size);
    match name {
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => {
            let element = target.decl.as_ref().and_then(|decl| decl.element());
            let texts = element.is_some_and(|decl| {
                matches!(decl.shape, super::types::Shape::String | super::types::Shape::Bytes)
            });
            Part::costing(match (element, target.items) {
                (None, None) => size.scaled(TRAVERSAL),
                _ if texts => size.times(Range::fixed(1).plus(target.item_size().scaled(TRAVERSAL))),
                _ => size,
            })
        }
        "lowerAscii" | "upperAscii" | "substring" | "trim" => {
            Part::costing(size.scaled(TRAVERSAL)).sized(size)
        }
        "replace" => {
            Part::costing(size.scaled(2.0 * TRAVERSAL)).sized(replaced(size, argument(0), argument(1)))
        }
        "split" => {
            let parts = Range { min: 0, max: limit.unwrap_or(size.max) };
            Part { items: Some(size), ..Part::costing(size.scaled(2.0 * TRAVERSAL)).sized(parts) }
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
            Part { items: Some(found), ..Part::costing(regex_cost(size, argument(0))).sized(found) }
        }
        "contains" => Part::costing(size.scaled(TRAVERSAL).times(argument(0).scaled(TRAVERSAL))),
        "startsWith" | "endsWith" => Part::costing(argument(0).scaled(TRAVERSAL)),
        "format" => {
            let all = size.plus(argument(0));
            Part::costing(size.scaled(TRAVERSAL)).sized(all)
        }
        "charAt" => one().sized(Range { min: 0, max: 1 }),
        "value" | "or" | "orValue" => {
            let sizes = args.iter().map(Part::size).fold(size, Range::union);
            Part { decl: target.decl.clone(), items: target.items, ..one().sized(sizes) }
        }
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

fn global_call(name: &str, args: &[Part]) -> Part {
    let size = |at: usize| args.get(at).map_or(Range::UNKNOWN, Part::size);
    match name {
        "url" => Part::costing(size(0).scaled(TRAVERSAL)).sized(size(0)),
        "matches" => Part::costing(regex_cost(size(0), size(1))),
        "bytes" | "string" if args.first().is_some_and(|arg| !arg.scalar) => {
            Part::costing(size(0).scaled(TRAVERSAL)).sized(size(0))
        }
        // The longest number or moment.
        "string" => one().sized(Range { min: 1, max: 64 }),
        "strings.quote" => {
            let quoted = Range {
                min: size(0).min.saturating_add(2),
                max: size(0).max.saturating_mul(2).saturating_add(2),
            };
            Part::costing(size(0).scaled(TRAVERSAL)).sized(quoted)
        }
        "sets.contains" | "sets.intersects" => Part::costing(size(0).times(size(1)).plus(Range::fixed(1))),
        "sets.equivalent" => {
            Part::costing(size(0).times(size(1)).times(Range::fixed(2)).plus(Range::fixed(1)))
        }
        "optional.of" | "optional.ofNonZeroValue" => match args {
            [arg] => Part { cost: Range::fixed(1), ..arg.clone() },
            _ => one(),
        },
        _ => one(),
    }
}
