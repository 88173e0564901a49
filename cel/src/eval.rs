//! Computes the value of a checked expression, counting what it costs as it goes.
//!
//! Costs are those of `cel-go`: one for each name, field and simple call, more for what walks over texts and
//! lists. An expression that costs more than it may is given up.

use std::collections::HashMap;

use super::{
    Authorizer, Binding, Program,
    ast::{Expr, Fold, How, Kind, Literal, Operator},
    check::TYPE_NAMES,
    cost, functions,
    index::Entries,
    session::Known,
    value::{Evaluated, Failure, List, Map, Opaque, Value},
};

/// One evaluation.
pub(super) struct Run<'a> {
    pub variables: Vec<(&'a str, Value<'a>)>,
    pub cost: u64,
    pub limit: u64,
    /// How many variables there were at the beginning.
    pub given: usize,
    /// What is found under `variables.`, and what it has come to.
    pub composed: HashMap<&'a str, &'a Program>,
    known: Known<'a>,
    /// What that has cost besides.
    pub composed_cost: u64,
    /// What was done that costs nothing by `cel-go`'s count, in all evaluations of this run.
    unpaid: u64,
    /// How high the trees are that are being evaluated for one another.
    height: usize,
    /// How high they have been, with those whose values were known.
    reached: usize,
    pub authorizer: Option<&'a dyn Authorizer>,
}

/// The name under which variables that are expressions are found.
const COMPOSED: &str = "variables";
/// How high the trees of variables that use one another may be together: each level takes some of the stack.
const MAX_HEIGHT: usize = 360;

impl<'a> Run<'a> {
    /// A run over the values of variables, without a limit as yet.
    pub fn new(bindings: &[Binding<'a>]) -> Self {
        let variables = bindings.iter().filter_map(|b| {
            let value = b.value.map(|json| Value::of(json, b.decl));
            let value = if b.optional { Some(Value::Optional(value.map(Into::into))) } else { value };
            value.map(|value| (b.name, value))
        });
        let variables: Vec<_> = variables.collect();
        Self {
            given: variables.len(),
            variables,
            cost: 0,
            limit: 0,
            composed: HashMap::new(),
            known: HashMap::new(),
            composed_cost: 0,
            unpaid: 0,
            height: 0,
            reached: 0,
            authorizer: None,
        }
    }

    fn pay(&mut self, cost: u64) -> Result<(), Failure> {
        self.cost = self.cost.saturating_add(cost);
        if self.cost > self.limit { Err(Failure::Cost) } else { Ok(()) }
    }

    /// Work that `cel-go` does not count: there may be as much of it as one evaluation may cost.
    fn unpaid(&mut self, work: u64) -> Result<(), Failure> {
        self.unpaid = self.unpaid.saturating_add(work);
        if self.unpaid > self.limit { Err(Failure::Cost) } else { Ok(()) }
    }

    pub fn value(&mut self, expr: &'a Expr) -> Evaluated<'a> {
        match &expr.kind {
            Kind::Literal(literal) => Ok(constant(literal)),
            Kind::Ident(name) => {
                let value = self.variable(name)?;
                // The name of a type is a constant.
                self.pay(if matches!(value, Value::Type(_)) { 0 } else { cost::NAME })?;
                Ok(value)
            }
            Kind::Select { of, field, optional } => self.select(of, field, *optional),
            Kind::Has { of, field } if self.composed(of, field).is_some() => Ok(Value::Bool(true)),
            Kind::Has { of, field } => match self.value(of)? {
                Value::Optional(inner) => {
                    Ok(Value::Bool(inner.is_some_and(|value| value.member(field).is_some())))
                }
                value @ (Value::Object(..) | Value::Map(_)) => Ok(Value::Bool(value.member(field).is_some())),
                _ => Err(Failure::no_overload()),
            },
            Kind::Index { of, key, optional } => self.index(of, key, *optional),
            Kind::Not(of) => match self.value(of)? {
                Value::Bool(b) => {
                    self.pay(1)?;
                    Ok(Value::Bool(!b))
                }
                _ => Err(Failure::no_overload()),
            },
            Kind::Negate(of) => {
                let value = self.value(of)?;
                self.pay(1)?;
                functions::negate(&value)
            }
            Kind::Binary(operator, left, right) => {
                // What a list that is written holds is known beforehand.
                let listed = *operator == Operator::In && right.is_constant();
                let (left, right) = (self.value(left)?, self.value(right)?);
                let cost = cost::of_operator(*operator, &left, &right, self.limit - self.cost);
                if listed {
                    self.unpaid(cost)?
                } else {
                    self.pay(cost)?
                }
                binary(*operator, left, right)
            }
            Kind::And(left, right) => self.logic(left, right, false),
            Kind::Or(left, right) => self.logic(left, right, true),
            Kind::Conditional(condition, yes, no) => match self.value(condition)? {
                Value::Bool(holds) => self.referred(if holds { yes } else { no }),
                _ => Err(Failure::no_overload()),
            },
            Kind::Call { target, name, args } => self.call(target.as_deref(), name, args),
            Kind::List(items) => self.list(items),
            Kind::Map(entries) => self.map(entries),
            Kind::Message { name, fields } => self.message(name, fields),
            Kind::Fold(fold) => self.fold(fold),
            Kind::OptMap { target, var, body, flat } => self.opt_map(target, var, body, *flat),
            Kind::Bind { var, value, body } => {
                let value = self.value(value)?;
                self.variables.push((var, value));
                let result = self.value(body);
                self.variables.pop();
                result
            }
        }
    }

    /// A value that `cel-go` looks up without paying for its name.
    fn referred(&mut self, expr: &'a Expr) -> Evaluated<'a> {
        let before = self.cost;
        let value = self.value(expr);
        // The name of a type has cost nothing.
        if expr.is_attribute() && self.cost > before {
            self.cost -= cost::NAME;
        }
        value
    }

    fn variable(&self, name: &str) -> Evaluated<'a> {
        if let Some((_, value)) = self.variables.iter().rev().find(|(n, _)| *n == name) {
            return Ok(value.clone());
        }
        match TYPE_NAMES.iter().find(|known| **known == name) {
            Some(name) => Ok(Value::Type((*name).into())),
            None => Err(Failure::error(format!("no such attribute(s): {name}"))),
        }
    }

    /// The expression that is a variable of this name.
    fn composed(&self, of: &Expr, field: &str) -> Option<(&'a str, &'a Program)> {
        let Kind::Ident(name) = &of.kind else { return None };
        let hidden = || self.variables.iter().any(|(name, _)| *name == COMPOSED);
        if name != COMPOSED || hidden() {
            return None;
        }
        self.composed.get_key_value(field).map(|(name, program)| (*name, *program))
    }

    /// What such a variable comes to, which is found out once. It sees no variables of macros, and may itself cost as much
    /// as the expression that uses it.
    fn composed_value(&mut self, name: &'a str, program: &'a Program) -> Evaluated<'a> {
        let known = self.known.get(name);
        // Values are no deeper than the trees that made them, and take some of the stack, too.
        let height = self.height + known.map_or(program.root.height, |(_, height)| *height);
        if height > MAX_HEIGHT {
            return Err(Failure::error("variables use one another too deeply"));
        }
        if let Some((value, _)) = known {
            self.reached = self.reached.max(height);
            return value.clone();
        }
        let outer = (self.cost, self.height, self.reached);
        (self.cost, self.height, self.reached) = (0, height, height);
        let of_macros = self.variables.split_off(self.given);
        let value = self.value(&program.root);
        self.variables.extend(of_macros);
        self.composed_cost = self.composed_cost.saturating_add(self.cost);
        self.known.insert(name, (value.clone(), self.reached - outer.1));
        (self.cost, self.height) = (outer.0, outer.1);
        self.reached = self.reached.max(outer.2);
        value
    }

    fn select(&mut self, of: &'a Expr, field: &str, optional: bool) -> Evaluated<'a> {
        if let Some((name, program)) = self.composed(of, field) {
            self.pay(2)?;
            let value = self.composed_value(name, program)?;
            return Ok(if optional { Value::some(value) } else { value });
        }
        // A variable may have a name of several parts.
        if let Kind::Ident(first) = &of.kind
            && let Some((_, value)) = self.variables.iter().rev().find(|(name, _)| {
                name.strip_prefix(first.as_str()).and_then(|rest| rest.strip_prefix('.')) == Some(field)
            })
        {
            let value = value.clone();
            self.pay(cost::NAME)?;
            return Ok(value);
        }
        if let Kind::Select { of: space, field: middle, .. } = &of.kind
            && let Kind::Ident(first) = &space.kind
            && first == "google"
            && middle == "protobuf"
            && !self.variables.iter().any(|(name, _)| *name == "google")
        {
            self.pay(cost::NAME)?;
            return Ok(Value::Type(format!("google.protobuf.{field}").into()));
        }
        let value = self.value(of)?;
        self.pay(cost::of_step(of))?;
        match value {
            Value::Optional(inner) => {
                Ok(Value::Optional(inner.and_then(|value| value.member(field)).map(Into::into)))
            }
            value @ (Value::Object(..) | Value::Map(_)) => match value.member(field) {
                found if optional => Ok(Value::Optional(found.map(Into::into))),
                Some(found) => Ok(found),
                None => Err(Failure::error(format!("no such key: {field}"))),
            },
            _ => Err(Failure::no_overload()),
        }
    }

    fn index(&mut self, of: &'a Expr, key: &'a Expr, optional: bool) -> Evaluated<'a> {
        let (value, key) = (self.value(of)?, self.referred(key)?);
        self.pay(cost::of_step(of))?;
        match value {
            Value::Optional(None) => Ok(Value::Optional(None)),
            Value::Optional(Some(inner)) => {
                Ok(element(&inner, &key).map_or(Value::Optional(None), Value::some))
            }
            value if optional => Ok(element(&value, &key).map_or(Value::Optional(None), Value::some)),
            value => element(&value, &key),
        }
    }

    /// `&&` and `||`: a side that decides makes the other's failure irrelevant.
    fn logic(&mut self, left: &'a Expr, right: &'a Expr, decisive: bool) -> Evaluated<'a> {
        let first = self.value(left);
        match &first {
            Ok(Value::Bool(b)) if *b == decisive => return first,
            Err(Failure::Cost) => return first,
            _ => {}
        }
        let second = self.value(right);
        match (first, second) {
            (_, Ok(Value::Bool(b))) if b == decisive => Ok(Value::Bool(decisive)),
            (_, Err(Failure::Cost)) => Err(Failure::Cost),
            (Err(failure), _) | (Ok(Value::Bool(_)), Err(failure)) => Err(failure),
            (Ok(Value::Bool(_)), Ok(Value::Bool(_))) => Ok(Value::Bool(!decisive)),
            _ => Err(Failure::no_overload()),
        }
    }

    fn call(&mut self, target: Option<&'a Expr>, name: &str, args: &'a [Expr]) -> Evaluated<'a> {
        // These two look at their argument only when they need it.
        if let (Some(target), [other], "or" | "orValue") = (target, args, name)
            && let Value::Optional(inner) = self.value(target)?
        {
            return match inner {
                Some(value) if name == "orValue" => Ok((*value).clone()),
                Some(value) => Ok(Value::Optional(Some(value))),
                None => self.value(other),
            };
        }
        let mut values = Vec::with_capacity(args.len() + 1);
        for arg in target.into_iter().chain(args) {
            values.push(self.value(arg)?);
        }
        if cost::is_constant_call(name, args) {
            self.unpaid(values.iter().map(Value::size).sum::<u64>() / 10)?;
        } else {
            self.pay(cost::of_call(name, &values, self.limit - self.cost))?;
        }
        if let ("check", [Value::Opaque(of), Value::String(verb)]) = (name, &values[..])
            && let Opaque::Access(access) = &**of
            && let Some(question) = access.question(verb)
        {
            let authorizer = self.authorizer.ok_or_else(Failure::no_overload)?;
            return Ok(Value::Opaque(Opaque::Decision(authorizer.decide(&question)).into()));
        }
        functions::call(name, &values)
    }

    fn list(&mut self, items: &'a [(Expr, bool)]) -> Evaluated<'a> {
        let empty = if items.iter().all(|(item, _)| item.is_constant()) { 0 } else { cost::LIST };
        self.pay(cost::of_written(empty, items.len()))?;
        let mut values = Vec::with_capacity(items.len());
        for (item, optional) in items {
            match self.value(item)? {
                Value::Optional(inner) if *optional => values.extend(inner.map(|value| (*value).clone())),
                value => values.push(value),
            }
        }
        Ok(Value::List(List::made(values)))
    }

    fn map(&mut self, items: &'a [(Expr, Expr, bool)]) -> Evaluated<'a> {
        let is_constant = items.iter().all(|(key, value, _)| key.is_constant() && value.is_constant());
        self.pay(cost::of_written(if is_constant { 0 } else { cost::MAP }, items.len()))?;
        let mut entries = Entries::default();
        for (key, value, optional) in items {
            let key = self.value(key)?;
            match self.value(value)? {
                Value::Optional(None) if *optional => {}
                Value::Optional(Some(value)) if *optional => insert(&mut entries, key, (*value).clone())?,
                value => insert(&mut entries, key, value)?,
            }
        }
        Ok(Value::Map(Map::made(entries)))
    }

    fn message(&mut self, message: &'a str, fields: &'a [(String, Expr, bool)]) -> Evaluated<'a> {
        self.pay(cost::of_written(cost::MESSAGE, fields.len()))?;
        let mut entries = Entries::default();
        for (name, value, optional) in fields {
            match self.value(value)? {
                Value::Optional(None) if *optional => {}
                Value::Optional(Some(value)) if *optional => {
                    insert(&mut entries, Value::text(name), (*value).clone())?;
                }
                value => insert(&mut entries, Value::text(name), value)?,
            }
        }
        Ok(Value::Map(Map::Made(entries.into(), Some(message))))
    }

    fn opt_map(&mut self, target: &'a Expr, var: &'a str, body: &'a Expr, flat: bool) -> Evaluated<'a> {
        let before = self.cost;
        let Value::Optional(inner) = self.value(target)? else { return Err(Failure::no_overload()) };
        // `cel-go` looks at it twice, and makes another one.
        let twice = self.cost - before;
        self.pay(1)?;
        let Some(inner) = inner else {
            self.pay(1)?;
            return Ok(Value::Optional(None));
        };
        self.pay(twice.saturating_add(1))?;
        self.variables.push((var, (*inner).clone()));
        let result = self.value(body);
        self.variables.pop();
        self.pay(u64::from(!flat))?;
        Ok(if flat { result? } else { Value::some(result?) })
    }

    fn fold(&mut self, fold: &'a Fold) -> Evaluated<'a> {
        let range = self.value(&fold.range)?;
        let mut made = Made::new(fold.how);
        // One after the other: a fold may be decided by the first.
        let (items, keyed): (Box<dyn Iterator<Item = (Value<'a>, Value<'a>)> + '_>, bool) = match &range {
            Value::List(list) => {
                (Box::new(list.iter().enumerate().map(|(i, v)| (Value::Int(i as i64), v))), false)
            }
            Value::Map(map) => (map.iter(), true),
            _ => return Err(Failure::no_overload()),
        };
        let depth = self.variables.len();
        for (key, value) in items {
            let before = self.cost;
            self.pay(cost::fold_check(fold.how))?;
            if made.decided() {
                break;
            }
            match fold.vars.as_slice() {
                [one] => self.variables.push((one, if keyed { key.clone() } else { value.clone() })),
                [one, two] => {
                    self.variables.push((one, key.clone()));
                    self.variables.push((two, value.clone()));
                }
                _ => {}
            }
            let step = self.step(fold, &mut made, &key, &value);
            self.variables.truncate(depth);
            step?;
            self.unpaid(u64::from(self.cost == before))?;
        }
        self.pay(cost::fold_end(fold.how))?;
        made.result()
    }

    /// One item of a fold.
    fn step(
        &mut self,
        fold: &'a Fold,
        made: &mut Made<'a>,
        key: &Value<'a>,
        item: &Value<'a>,
    ) -> Result<(), Failure> {
        let filter = fold.filter.as_ref().map(|filter| self.value(filter));
        if matches!(fold.how, How::All | How::Exists) {
            self.pay(1)?;
            return made.judge(filter.unwrap_or(Ok(Value::Bool(true))));
        }
        match filter.transpose()? {
            None | Some(Value::Bool(true)) => {}
            Some(Value::Bool(false)) => return Ok(()),
            Some(_) => return Err(Failure::no_overload()),
        }
        match (fold.how, &fold.body) {
            (How::ExistsOne, _) => {
                made.count += 1;
                self.pay(2)
            }
            (How::Filter, _) => {
                let item = if fold.vars.len() == 1 {
                    self.variables.last().map_or_else(|| item.clone(), |(_, value)| value.clone())
                } else {
                    item.clone()
                };
                made.items.push(item);
                self.pay(cost::APPEND + 1)
            }
            (How::Map, Some(body)) => {
                let value = self.value(body)?;
                made.items.push(value);
                self.pay(cost::APPEND)
            }
            (How::TransformMap, Some(body)) => {
                let value = self.value(body)?;
                self.pay(cost::INSERT)?;
                insert(&mut made.entries, key.clone(), value)
            }
            (How::TransformMapEntry, Some(body)) => {
                let Value::Map(map) = self.value(body)? else { return Err(Failure::no_overload()) };
                self.pay(cost::INSERT)?;
                map.iter().try_for_each(|(key, value)| insert(&mut made.entries, key, value))
            }
            _ => Ok(()),
        }
    }
}

/// What a fold has come to.
struct Made<'a> {
    how: How,
    /// Of `all` and `exists`.
    verdict: Evaluated<'a>,
    count: usize,
    items: Vec<Value<'a>>,
    entries: Entries<'a>,
}

impl<'a> Made<'a> {
    fn new(how: How) -> Self {
        Self {
            how,
            verdict: Ok(Value::Bool(how == How::All)),
            count: 0,
            items: Vec::new(),
            entries: Entries::default(),
        }
    }

    fn decided(&self) -> bool {
        match self.how {
            How::All => self.verdict == Ok(Value::Bool(false)),
            How::Exists => self.verdict == Ok(Value::Bool(true)),
            _ => false,
        }
    }

    fn judge(&mut self, told: Evaluated<'a>) -> Result<(), Failure> {
        match told {
            Err(Failure::Cost) => return Err(Failure::Cost),
            Ok(Value::Bool(b)) if b == (self.how == How::All) => {}
            Ok(Value::Bool(b)) => self.verdict = Ok(Value::Bool(b)),
            Err(failure) => self.verdict = Err(failure),
            Ok(_) => self.verdict = Err(Failure::no_overload()),
        }
        Ok(())
    }

    fn result(self) -> Evaluated<'a> {
        match self.how {
            How::All | How::Exists => self.verdict,
            How::ExistsOne => Ok(Value::Bool(self.count == 1)),
            How::Map | How::Filter => Ok(Value::List(List::made(self.items))),
            How::TransformMap | How::TransformMapEntry => Ok(Value::Map(Map::made(self.entries))),
        }
    }
}

fn constant<'a>(literal: &'a Literal) -> Value<'a> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(b) => Value::Bool(*b),
        Literal::Int(n) => Value::Int(*n),
        Literal::Uint(n) => Value::Uint(*n),
        Literal::Double(n) => Value::Double(*n),
        Literal::String(text) => Value::String(text.into()),
        Literal::Bytes(bytes) => Value::Bytes(bytes.into()),
    }
}

fn insert<'a>(entries: &mut Entries<'a>, key: Value<'a>, value: Value<'a>) -> Result<(), Failure> {
    if !key.is_leaf() {
        return Err(Failure::error(format!("unsupported key type: {}", key.type_name())));
    }
    entries.add(key, value).map_err(|key| {
        Failure::error(format!("insert failed: key {} already exists", functions::shown(&key)))
    })
}

fn element<'a>(of: &Value<'a>, key: &Value<'a>) -> Evaluated<'a> {
    match of {
        Value::List(list) => {
            let at = match key {
                Value::Int(n) => usize::try_from(*n).ok(),
                Value::Uint(n) => usize::try_from(*n).ok(),
                Value::Double(d) if d.fract() == 0.0 && *d >= 0.0 && *d < 1e15 =>
                {
                    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked")]
                    Some(*d as usize)
                }
                _ => return Err(Failure::no_overload()),
            };
            at.and_then(|at| list.get(at))
                .ok_or_else(|| Failure::error(format!("index out of bounds: {}", functions::shown(key))))
        }
        Value::Map(map) => {
            map.get(key).ok_or_else(|| Failure::error(format!("no such key: {}", functions::shown(key))))
        }
        Value::Object(..) => match key {
            Value::String(name) => {
                of.member(name).ok_or_else(|| Failure::error(format!("no such key: {name}")))
            }
            _ => Err(Failure::no_overload()),
        },
        _ => Err(Failure::no_overload()),
    }
}

fn binary<'a>(operator: Operator, left: Value<'a>, right: Value<'a>) -> Evaluated<'a> {
    use std::cmp::Ordering;
    let ordered = |wanted: fn(Ordering) -> bool| match functions::compare(&left, &right) {
        Some(order) => Ok(Value::Bool(wanted(order))),
        // Not-a-number is neither less nor more.
        None if is_number(&left) && is_number(&right) => Ok(Value::Bool(false)),
        None => Err(Failure::no_overload()),
    };
    match operator {
        Operator::Equal => Ok(Value::Bool(left == right)),
        Operator::NotEqual => Ok(Value::Bool(left != right)),
        Operator::Less => ordered(Ordering::is_lt),
        Operator::LessEqual => ordered(Ordering::is_le),
        Operator::Greater => ordered(Ordering::is_gt),
        Operator::GreaterEqual => ordered(Ordering::is_ge),
        Operator::In => match &right {
            Value::List(list) => Ok(Value::Bool(list.contains(&left))),
            Value::Map(map) => Ok(Value::Bool(map.get(&left).is_some())),
            Value::Object(..) => match &left {
                Value::String(name) => Ok(Value::Bool(right.member(name).is_some())),
                _ => Err(Failure::no_overload()),
            },
            _ => Err(Failure::no_overload()),
        },
        _ => functions::arithmetic(operator, &left, &right),
    }
}

fn is_number(value: &Value<'_>) -> bool {
    matches!(value, Value::Int(_) | Value::Uint(_) | Value::Double(_))
}
