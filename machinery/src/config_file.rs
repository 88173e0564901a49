//! Configuration files of daemons, which `--config` names. Each field stands for a flag; those of the command line take
//! their place. What a daemon does in one way alone a file may say as well, and nothing else; other fields are refused unless
//! they are left at nothing (`0s`, `""`, `0`, `[]`, not `false`), as tools that write such files leave most of them.
//!
//! Upstream counterpart: component-base's `config` APIs, and what each daemon makes of its own.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use api::duration;
use serde_json::Value;

/// What a daemon reads of a file.
#[derive(Debug, Clone, Copy)]
pub struct ConfigFile {
    /// Its `apiVersion` …
    pub api_version: &'static str,
    /// … and its `kind`.
    pub kind: &'static str,
    /// Its fields, by path, as in `authentication.x509.clientCAFile`.
    pub fields: &'static [(&'static str, Field)],
}

/// What a field stands for.
#[derive(Debug, Clone, Copy)]
pub enum Field {
    /// The flag of this name, without its dashes; lists are joined by commas. Left at nothing, it is the flag's default.
    Flag(&'static str),
    /// The same, whatever it is.
    Exactly(&'static str),
    /// The flag of this name, whose value is written in a way of its own.
    Written(&'static str, fn(&Value) -> Option<String>),
    /// What the daemon does anyway.
    Only(&'static str),
}

impl ConfigFile {
    /// A command line with all that the file stands for which it names.
    ///
    /// # Errors
    /// When there is no such file, or it says what the daemon cannot be told.
    pub fn arguments(&self, given: impl IntoIterator<Item = OsString>) -> anyhow::Result<Vec<OsString>> {
        let mut given: Vec<OsString> = given.into_iter().collect();
        if let Some(path) = named(&given) {
            let mut flags = self.read(&path).with_context(|| format!("--config {}", path.display()))?;
            // Values of lists would be added to those of the file.
            flags.retain(|(flag, _)| {
                !given.iter().any(|argument| value_of(argument, &format!("--{flag}")).is_some())
            });
            given.splice(
                1..1,
                flags.into_iter().map(|(flag, value)| OsString::from(format!("--{flag}={value}"))),
            );
        }
        Ok(given)
    }

    fn read(&self, path: &Path) -> anyhow::Result<Vec<(&'static str, String)>> {
        let text = std::fs::read_to_string(path)?;
        let mut file: Value = serde_yaml_ng::from_str(&text)?;
        for (field, expected) in [("apiVersion", self.api_version), ("kind", self.kind)] {
            let found = file.as_object_mut().and_then(|file| file.remove(field)).unwrap_or_default();
            ensure!(found == expected, "{field} is {found}, not {expected:?}");
        }
        let mut flags = Vec::new();
        self.walk("", &file, &mut flags)?;
        Ok(flags)
    }

    fn walk(&self, path: &str, value: &Value, flags: &mut Vec<(&'static str, String)>) -> anyhow::Result<()> {
        let field = self.fields.iter().find(|(name, _)| *name == path).map(|(_, field)| *field);
        let mut add = |flag, text: Option<String>| {
            flags.push((flag, text.with_context(|| format!("{path}: {value} is no value of it"))?));
            Ok(())
        };
        match (field, value) {
            (Some(_), Value::Null) => Ok(()),
            (Some(Field::Exactly(flag)), _) => add(flag, text(value)),
            (Some(Field::Written(flag, write)), _) => add(flag, write(value)),
            (Some(Field::Only(only)), _) if is_unsaid(value) || is_that(value, only) => Ok(()),
            (Some(Field::Only(only)), _) => bail!("{path}: {value} cannot be had, only {only}"),
            (Some(Field::Flag(_)), _) if is_nothing(value) => Ok(()),
            (Some(Field::Flag(flag)), _) => add(flag, text(value)),
            (None, Value::Object(fields)) => {
                let inner =
                    |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
                fields.iter().try_for_each(|(name, value)| self.walk(&inner(name), value, flags))
            }
            (None, _) if is_nothing(value) => Ok(()),
            (None, _) => bail!("{path}: this field is not known here"),
        }
    }
}

/// The file that a command line names last.
fn named(given: &[OsString]) -> Option<PathBuf> {
    let mut last = None;
    let mut given = given.iter().skip(1);
    while let Some(argument) = given.next() {
        match value_of(argument, "--config") {
            Some(None) => last = given.next().map(PathBuf::from).or(last),
            Some(Some(value)) => last = Some(PathBuf::from(value)),
            None => {}
        }
    }
    last.filter(|path| !path.as_os_str().is_empty())
}

/// What stands behind the `=` of an argument, if that is this flag and there is one.
fn value_of<'a>(argument: &'a OsStr, flag: &str) -> Option<Option<&'a OsStr>> {
    let rest = argument.as_bytes().strip_prefix(flag.as_bytes())?;
    match rest.split_first() {
        None => Some(None),
        Some((b'=', value)) => Some(Some(OsStr::from_bytes(value))),
        Some(_) => None,
    }
}

/// Whether a text is left out, or a time at what upstream takes for its default.
fn is_unsaid(value: &Value) -> bool {
    matches!(value.as_str(), Some("" | "0" | "0s"))
}

/// Whether a field is left at what upstream takes for its default, where that is no pointer to a value.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(_) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(_) => is_unsaid(value),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

/// Whether a value is the one that is meant; times are written in several ways.
fn is_that(value: &Value, only: &str) -> bool {
    text(value).is_some_and(|text| {
        let times = [duration::parse(&text), duration::parse(only)];
        text == only || matches!(times, [Ok(one), Ok(other)] if one == other)
    })
}

/// A value as a flag has it.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null | Value::Object(_) => None,
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Array(items) => {
            let items: Option<Vec<_>> = items.iter().map(text).collect();
            items.map(|items| items.join(","))
        }
    }
}

#[cfg(test)]
mod tests;
