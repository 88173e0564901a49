//! Custom kinds: what a CustomResourceDefinition says, and the rules it makes for objects.
//!
//! Pure. `check` says whether a schema can be served, `kind` makes the rows of the table, and `fill`,
//! `validate`, `lists` and `rules` are what happens to objects. Counterpart of `k8s.io/apiextensions-apiserver`.

pub(crate) mod check;
mod columns;
pub(crate) mod fill;
mod formats;
pub mod kind;
mod lists;
pub mod names;
pub(crate) mod paths;
mod publish;
pub(crate) mod rules;
mod scale;
pub(crate) mod schema;
mod structural;
#[cfg(test)]
mod tests;
mod validate;
