//! The Common Expression Language, as Kubernetes has it: reading, type checking, estimating, evaluating.
//!
//! Home-made because the crate of that name on crates.io checks no types, estimates and limits no costs, and reads objects only as
//! copies; all of these decide what the API accepts. Pure; an expression is compiled once and evaluated often,
//! each time within a limit. Counterpart of `cel-go` and `k8s.io/apiserver/pkg/cel`.

mod access;
mod ast;
mod check;
mod cost;
mod estimate;
mod eval;
mod functions;
mod index;
mod lexer;
mod library;
mod parser;
pub mod pattern;
mod session;
#[cfg(test)]
mod tests;
mod types;
mod value;

use std::{collections::BTreeSet, sync::Arc};

use serde_json::Value as Json;

pub use access::{Authorizer, Decision, Question};
pub use library::{AUTHORIZER, JSON_PATCH, OBJECT, RESOURCE_CHECK};
pub use session::{Session, Unanswered};
pub use types::{Decl, ListKind, MAX_REQUEST, RESERVED, Shape, escape};

use ast::{Expr, Kind};
use types::Type;

/// What an expression must come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// `true` or `false`
    Bool,
    /// Text.
    String,
    /// Anything; what it comes to is asked of the program.
    Anything,
}

/// A variable that an expression may use.
#[derive(Debug, Clone)]
pub struct Variable<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its type.
    pub decl: Arc<Decl>,
    /// Whether it may be missing: then it is an optional.
    pub optional: bool,
}

/// A compiled expression.
#[derive(Debug)]
pub struct Program {
    root: Expr,
    result: Type,
    names: BTreeSet<String>,
    max_cost: u64,
}

/// A variable's value: of an optional one, `None` when there is nothing.
#[derive(Debug, Clone, Copy)]
pub struct Binding<'a> {
    /// The variable.
    pub name: &'a str,
    /// Its value as JSON.
    pub value: Option<&'a Json>,
    /// How to read it.
    pub decl: &'a Arc<Decl>,
    /// Whether it is an optional.
    pub optional: bool,
}

/// What an expression comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// `true` or `false`
    Bool(bool),
    /// Text.
    String(String),
    /// Nothing.
    Null,
    /// Anything else, as text.
    Other(String),
}

/// Why an expression came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// It costs more than one evaluation may.
    #[error("operation cancelled: actual cost limit exceeded")]
    TooExpensive,
    /// No index, no key, no such overload, overflow, …
    #[error("{0}")]
    Failed(String),
}

/// Why an expression cannot be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// It is none: mistakes, with the places marked.
    #[error("{0}")]
    Mistakes(String),
    /// It comes to something else.
    #[error("must evaluate to a {0}")]
    Result(&'static str),
}

impl Program {
    /// Reads and checks an expression.
    pub fn compile(text: &str, variables: &[Variable<'_>], wanted: Wanted) -> Result<Self, CompileError> {
        let (root, nodes) = parser::parse(text)
            .map_err(|e| CompileError::Mistakes(marked(text, e.at, &format!("Syntax error: {}", e.why))))?;
        let typed: Vec<(&str, Type)> = variables
            .iter()
            .map(|v| {
                let ty = Type::of(&v.decl);
                (v.name, if v.optional { Type::optional(ty) } else { ty })
            })
            .collect();
        let types = check::check(&root, nodes, &typed).map_err(|mistakes| {
            let marked: Vec<String> = mistakes.iter().map(|m| marked(text, m.at, &m.why)).collect();
            CompileError::Mistakes(marked.join("\n"))
        })?;
        let found = &types[root.id];
        match wanted {
            Wanted::Bool if !matches!(found, Type::Bool | Type::Dyn) => {
                return Err(CompileError::Result("bool"));
            }
            Wanted::String if !matches!(found, Type::String | Type::Dyn) => {
                return Err(CompileError::Result("string"));
            }
            _ => {}
        }
        let sizes: Vec<(&str, Option<Arc<Decl>>)> =
            variables.iter().map(|v| (v.name, Some(Arc::clone(&v.decl)))).collect();
        let max_cost = estimate::estimate(&root, &types, &sizes);
        let mut names = BTreeSet::new();
        collect_names(&root, &mut names);
        let result = found.clone();
        Ok(Self { root, result, names, max_cost })
    }

    /// The name of the type that it comes to.
    pub fn result(&self) -> String {
        if self.result == Type::Null { "null_type".into() } else { self.result.to_string() }
    }

    /// The type that it comes to, as that of a variable.
    pub fn decl(&self) -> Arc<Decl> {
        self.result.decl()
    }

    /// The most it costs, by an estimate from the sizes that the schema allows.
    pub fn max_cost(&self) -> u64 {
        self.max_cost
    }

    /// Whether it uses a name.
    pub fn uses(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Whether it asks for a field of a variable, as `of.field`.
    pub fn selects(&self, of: &str, field: &str) -> bool {
        selects(&self.root, of, field)
    }

    /// Evaluates it; answers also what that cost.
    pub fn eval(&self, bindings: &[Binding<'_>], limit: u64) -> (Result<Answer, EvalError>, u64) {
        let mut run = eval::Run::new(bindings);
        run.limit = limit;
        let result = run.value(&self.root).map(Answer::of).map_err(EvalError::from);
        (result, run.cost)
    }
}

/// Whether a text is a URL with a scheme, or an absolute path.
pub fn is_url(text: &str) -> bool {
    functions::url::Url::parse(text).is_some()
}

/// A message with its place, and the line with a mark below it.
fn marked(text: &str, at: usize, why: &str) -> String {
    let (mut line, mut column, mut shown) = (1, 0, String::new());
    let mut left = at;
    for content in text.split('\n') {
        let length = content.chars().count();
        if left <= length {
            column = left;
            content.clone_into(&mut shown);
            break;
        }
        left -= length + 1;
        line += 1;
    }
    format!("ERROR: <input>:{line}:{}: {why}\n | {shown}\n | {}^", column + 1, ".".repeat(column))
}

/// All names that an expression mentions.
fn collect_names(expr: &Expr, names: &mut BTreeSet<String>) {
    if let Kind::Ident(name) = &expr.kind {
        names.insert(name.clone());
    }
    expr.kind.parts().into_iter().for_each(|part| collect_names(part, names));
}

fn selects(expr: &Expr, variable: &str, wanted: &str) -> bool {
    let here = match &expr.kind {
        Kind::Select { of, field, .. } | Kind::Has { of, field } => {
            field == wanted && matches!(&of.kind, Kind::Ident(name) if name == variable)
        }
        _ => false,
    };
    here || expr.kind.parts().into_iter().any(|part| selects(part, variable, wanted))
}
