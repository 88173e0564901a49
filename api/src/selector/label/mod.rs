//! Label selectors, in their text form (`a=b,c in (d,e),!f`) and as `LabelSelector` objects.
//!
//! Counterpart of upstream's `labels.Selector` and `metav1.LabelSelectorAsSelector`.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::MOST_TERMS;
use crate::{Message, field::cut, message, validation};

/// How a requirement compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operator {
    /// `key in (a,b)`
    In,
    /// `key notin (a,b)`; holds also without the label.
    NotIn,
    /// `key=a`
    Equals,
    /// `key==a`
    DoubleEquals,
    /// `key!=a`; holds also without the label.
    NotEquals,
    /// `key`
    Exists,
    /// `!key`
    DoesNotExist,
    /// `key>1`
    GreaterThan,
    /// `key<1`
    LessThan,
}

/// One condition on one label.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Requirement {
    key: String,
    operator: Operator,
    /// Sorted, without doubles.
    values: Vec<String>,
}

/// Conditions that must all hold. No conditions select everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
    nothing: bool,
}

/// Anything that has labels.
pub trait Labels {
    /// The label's value.
    fn label(&self, key: &str) -> Option<&str>;
}

impl Labels for BTreeMap<String, String> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key).map(String::as_str)
    }
}

impl Labels for Map<String, Value> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Value::as_str)
    }
}

/// Few labels, sorted or not.
impl<S: AsRef<str>> Labels for [(S, S)] {
    fn label(&self, key: &str) -> Option<&str> {
        self.iter().find(|(k, _)| k.as_ref() == key).map(|(_, v)| v.as_ref())
    }
}

impl<L: Labels + ?Sized> Labels for &L {
    fn label(&self, key: &str) -> Option<&str> {
        (**self).label(key)
    }
}

/// An object without labels has none.
impl<L: Labels> Labels for Option<L> {
    fn label(&self, key: &str) -> Option<&str> {
        self.as_ref().and_then(|l| l.label(key))
    }
}

impl Requirement {
    /// A checked requirement.
    pub fn new(key: &str, operator: Operator, mut values: Vec<String>) -> Result<Self, Message> {
        use Operator::*;
        values.sort_unstable();
        values.dedup();
        let mut errors = Vec::new();
        errors.extend(key_error("key", key));
        let shown = || format!("[{}]", values.iter().map(|v| format!("{v:?}")).collect::<Vec<_>>().join(","));
        let wrong = |why: &str| format!("values: Invalid value: {}: {why}", shown());
        match operator {
            In | NotIn if values.is_empty() => {
                errors.push(wrong("for 'in', 'notin' operators, values set can't be empty"));
            }
            Equals | DoubleEquals | NotEquals if values.len() != 1 => {
                errors.push(wrong("exact-match compatibility requires one single value"));
            }
            Exists | DoesNotExist if !values.is_empty() => {
                errors.push(wrong("values set must be empty for exists and does not exist"));
            }
            GreaterThan | LessThan if values.len() != 1 => {
                errors.push(wrong("for 'Gt', 'Lt' operators, exactly one value is required"));
            }
            GreaterThan | LessThan => {
                for (i, v) in values.iter().enumerate().filter(|(_, v)| v.parse::<i64>().is_err()) {
                    errors.push(format!(
                        "values[{i}]: Invalid value: {v:?}: for 'Gt', 'Lt' operators, the value must be an integer"
                    ));
                }
            }
            _ => {}
        }
        const MOST: usize = 100;
        let shown = cut(key, 512);
        let wrong = values.iter().enumerate().filter_map(|(i, value)| Some((i, value, value_error(value)?)));
        for (i, value, why) in wrong.take(MOST) {
            errors.push(format!("values[{i}][{shown}]: Invalid value: {value:?}: {why}"));
        }
        match errors.as_slice() {
            [] => Ok(Self { key: key.to_owned(), operator, values }),
            [one] => Err(one.as_str().into()),
            many => Err(message!("[{}]", many.join(", "))),
        }
    }

    /// The label's key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// How it compares.
    pub fn operator(&self) -> Operator {
        self.operator
    }

    /// What it compares with.
    pub fn values(&self) -> &[String] {
        &self.values
    }

    fn matches(&self, labels: &(impl Labels + ?Sized)) -> bool {
        let label = labels.label(&self.key);
        // They are sorted.
        let among = |l: &str| self.values.binary_search_by(|v| v.as_str().cmp(l)).is_ok();
        match self.operator {
            Operator::In | Operator::Equals | Operator::DoubleEquals => label.is_some_and(among),
            Operator::NotIn | Operator::NotEquals => !label.is_some_and(among),
            Operator::Exists => label.is_some(),
            Operator::DoesNotExist => label.is_none(),
            Operator::GreaterThan => self.compare(label).is_some_and(|(l, v)| l > v),
            Operator::LessThan => self.compare(label).is_some_and(|(l, v)| l < v),
        }
    }

    fn compare(&self, label: Option<&str>) -> Option<(i64, i64)> {
        Some((label?.parse().ok()?, self.values.first()?.parse().ok()?))
    }
}

impl LabelSelector {
    /// The selector that selects everything.
    pub fn everything() -> Self {
        Self::default()
    }

    /// The selector that selects nothing.
    pub fn nothing() -> Self {
        Self { requirements: Vec::new(), nothing: true }
    }

    /// True when nothing is asked of the labels.
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty() && !self.nothing
    }

    /// The conditions, sorted by key.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether all conditions hold.
    pub fn matches(&self, labels: &(impl Labels + ?Sized)) -> bool {
        !self.nothing && self.requirements.iter().all(|r| r.matches(labels))
    }

    /// Reads a selector from its text form.
    ///
    /// # Errors
    /// In upstream's words; and for more than 256 requirements: every object is asked all of them.
    pub fn parse(text: &str) -> Result<Self, Message> {
        let selector = Self::of(Parser { tokens: tokens(text), at: 0 }.parse()?);
        match selector.requirements.len() {
            0..=MOST_TERMS => Ok(selector),
            more => Err(message!("must have at most {MOST_TERMS} requirements, not {more}")),
        }
    }

    /// Requirements by their keys; what is said again adds nothing.
    fn of(mut requirements: Vec<Requirement>) -> Self {
        let mut seen = HashSet::new();
        let is_new: Vec<bool> = requirements.iter().map(|requirement| seen.insert(requirement)).collect();
        let mut is_new = is_new.into_iter();
        requirements.retain(|_| is_new.next().unwrap_or(true));
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Self { requirements, nothing: false }
    }

    /// The selector that a `LabelSelector` object stands for; no object selects nothing, an empty one all.
    ///
    /// # Errors
    /// What is wrong with a requirement.
    pub fn from_label_selector(selector: Option<&meta::LabelSelector>) -> Result<Self, Message> {
        let Some(selector) = selector else { return Ok(Self::nothing()) };
        let mut requirements = Vec::new();
        for (key, value) in selector.match_labels.iter().flatten() {
            requirements.push(Requirement::new(key, Operator::Equals, vec![value.clone()])?);
        }
        for e in selector.match_expressions.iter().flatten() {
            let operator = match e.operator.as_str() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => return Err(message!("{other:?} is not a valid label selector operator")),
            };
            requirements.push(Requirement::new(&e.key, operator, e.values.clone().unwrap_or_default())?);
        }
        Ok(Self::of(requirements))
    }

    /// The same from the JSON form of a `LabelSelector` object.
    pub fn from_value(selector: Option<&Value>) -> Result<Self, Message> {
        match selector {
            None | Some(Value::Null) => Ok(Self::nothing()),
            Some(value) => {
                let selector = meta::LabelSelector::deserialize(value).map_err(Message::of)?;
                Self::from_label_selector(Some(&selector))
            }
        }
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, r) in self.requirements.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            r.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, values) = (&self.key, self.values.join(","));
        match self.operator {
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::Equals => write!(f, "{key}={values}"),
            Operator::DoubleEquals => write!(f, "{key}=={values}"),
            Operator::NotEquals => write!(f, "{key}!={values}"),
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan => write!(f, "{key}>{values}"),
            Operator::LessThan => write!(f, "{key}<{values}"),
        }
    }
}

fn key_error(at: &str, key: &str) -> Option<String> {
    let errors = validation::qualified_name(key);
    (!errors.is_empty()).then(|| format!("{at}: Invalid value: {key:?}: {}", errors.join("; ")))
}

fn value_error(value: &str) -> Option<String> {
    let errors = validation::label_value(value);
    (!errors.is_empty()).then(|| errors.join("; "))
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Token<'a> {
    Symbol(&'static str),
    /// A word; `in` and `notin` are words where values or keys stand.
    Word(&'a str),
    End,
}

impl<'a> Token<'a> {
    fn text(self) -> &'a str {
        match self {
            Token::Symbol(s) => s,
            Token::Word(w) => w,
            Token::End => "",
        }
    }
}

fn tokens(text: &str) -> Vec<Token<'_>> {
    const SYMBOLS: [&str; 9] = ["==", "!=", ")", "(", ",", "=", "!", ">", "<"];
    let special = |c: char| c.is_ascii_whitespace() || "=!(),><".contains(c);
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        if rest.is_empty() {
            tokens.push(Token::End);
            return tokens;
        }
        if let Some(symbol) = SYMBOLS.into_iter().find(|s| rest.starts_with(s)) {
            tokens.push(Token::Symbol(symbol));
            rest = &rest[symbol.len()..];
        } else {
            // Never empty: whitespace and symbols were taken above, unless it is another ASCII blank.
            let end = rest.char_indices().skip(1).find(|(_, c)| special(*c)).map_or(rest.len(), |(i, _)| i);
            tokens.push(Token::Word(&rest[..end]));
            rest = &rest[end..];
        }
    }
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Token<'a> {
        self.tokens.get(self.at).copied().unwrap_or(Token::End)
    }

    fn next(&mut self) -> Token<'a> {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn parse(mut self) -> Result<Vec<Requirement>, Message> {
        let starts = |t| matches!(t, Token::Word(_) | Token::Symbol("!"));
        let mut requirements = Vec::new();
        loop {
            match self.peek() {
                t if starts(t) => {
                    let r = self.requirement().map_err(|e| format!("unable to parse requirement: {e}"))?;
                    requirements.push(r);
                    match self.next() {
                        Token::End => return Ok(requirements),
                        Token::Symbol(",") if starts(self.peek()) => {}
                        Token::Symbol(",") => {
                            let found = self.peek().text();
                            return Err(message!("found '{found}', expected: identifier after ','"));
                        }
                        t => return Err(message!("found '{}', expected: ',' or 'end of string'", t.text())),
                    }
                }
                Token::End => return Ok(requirements),
                t => {
                    return Err(message!(
                        "found '{}', expected: !, identifier, or 'end of string'",
                        t.text()
                    ));
                }
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, Message> {
        let mut token = self.next();
        let negated = token == Token::Symbol("!");
        if negated {
            token = self.next();
        }
        let Token::Word(key) = token else {
            return Err(message!("found '{}', expected: identifier", token.text()));
        };
        if let Some(error) = key_error("<nil>", key) {
            return Err(error.into());
        }
        if negated {
            return Requirement::new(key, Operator::DoesNotExist, Vec::new());
        }
        let operator = match self.peek() {
            Token::End | Token::Symbol(",") => return Requirement::new(key, Operator::Exists, Vec::new()),
            Token::Word("in") => Operator::In,
            Token::Word("notin") => Operator::NotIn,
            Token::Symbol("=") => Operator::Equals,
            Token::Symbol("==") => Operator::DoubleEquals,
            Token::Symbol("!=") => Operator::NotEquals,
            Token::Symbol(">") => Operator::GreaterThan,
            Token::Symbol("<") => Operator::LessThan,
            t => return Err(message!("found '{}', expected: in, notin, =, ==, !=, gt, lt", t.text())),
        };
        self.next();
        let values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => vec![self.exact_value()?],
        };
        Requirement::new(key, operator, values)
    }

    fn exact_value(&mut self) -> Result<String, Message> {
        match self.peek() {
            Token::End | Token::Symbol(",") => Ok(String::new()),
            Token::Word(w) => {
                self.next();
                Ok(w.to_owned())
            }
            Token::Symbol(s) => Err(message!("found '{s}', expected: identifier")),
        }
    }

    /// `(a,b)`; a place left empty stands for "".
    fn values(&mut self) -> Result<Vec<String>, Message> {
        let open = self.next();
        if open != Token::Symbol("(") {
            return Err(message!("found '{}' expected: '('", open.text()));
        }
        match self.peek() {
            Token::Symbol(")") => {
                self.next();
                return Ok(vec![String::new()]);
            }
            Token::Word(_) | Token::Symbol(",") => {}
            t => return Err(message!("found '{}', expected: ',', ')' or identifier", t.text())),
        }
        let mut values = Vec::new();
        loop {
            match self.next() {
                Token::Word(w) => {
                    values.push(w.to_owned());
                    match self.next() {
                        Token::Symbol(",") if self.peek() == Token::Symbol(")") => {
                            values.push(String::new());
                            self.next();
                            return Ok(values);
                        }
                        Token::Symbol(",") => {}
                        Token::Symbol(")") => return Ok(values),
                        t => return Err(message!("found '{}', expected: ',' or ')'", t.text())),
                    }
                }
                Token::Symbol(",") => {
                    values.push(String::new());
                    if self.peek() == Token::Symbol(")") {
                        self.next();
                        return Ok(values);
                    }
                }
                t => return Err(message!("found '{}', expected: ',', or identifier", t.text())),
            }
        }
    }
}

#[cfg(test)]
mod tests;
