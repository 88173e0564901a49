//! Semantic versions (2.0.0).

use std::{cmp::Ordering, rc::Rc};

use crate::value::{Evaluated, Opaque, Value};

#[derive(Debug, PartialEq)]
pub(crate) struct Version {
    numbers: [u64; 3],
    pre: Vec<String>,
    build: Vec<String>,
}

impl Version {
    /// Reads a version. With `lenient` a `v` in front, missing parts and leading zeros are fine.
    pub(super) fn parse(text: &str, lenient: bool) -> Option<Self> {
        let mut text = text.to_owned();
        if lenient {
            text = text.strip_prefix('v').unwrap_or(&text).to_owned();
        }
        let (rest, build) = text.split_once('+').map_or((&*text, None), |(rest, build)| (rest, Some(build)));
        let (core, pre) = rest.split_once('-').map_or((rest, None), |(core, pre)| (core, Some(pre)));
        let mut parts: Vec<&str> = core.split('.').collect();
        if lenient && parts.len() < 3 && pre.is_none() && build.is_none() {
            parts.resize(3, "0");
        }
        let [major, minor, patch] = parts[..] else { return None };
        let number = |text: &str| {
            let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let sound = plain && (lenient || text.len() == 1 || !text.starts_with('0'));
            if sound { text.parse::<u64>().ok() } else { None }
        };
        let identifiers = |text: Option<&str>, numbers: bool| -> Option<Vec<String>> {
            let Some(text) = text else { return Some(Vec::new()) };
            text.split('.')
                .map(|part| {
                    let named =
                        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
                    let padded =
                        part.len() > 1 && part.starts_with('0') && part.bytes().all(|b| b.is_ascii_digit());
                    (named && !(numbers && padded)).then(|| part.to_owned())
                })
                .collect()
        };
        Some(Self {
            numbers: [number(major)?, number(minor)?, number(patch)?],
            pre: identifiers(pre, true)?,
            build: identifiers(build, false)?,
        })
    }

    fn order(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| match (self.pre.is_empty(), other.pre.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => {
                let parts = self.pre.iter().zip(&other.pre).map(|(a, b)| {
                    match (a.parse::<u64>(), b.parse::<u64>()) {
                        (Ok(a), Ok(b)) => a.cmp(&b),
                        (Ok(_), Err(_)) => Ordering::Less,
                        (Err(_), Ok(_)) => Ordering::Greater,
                        (Err(_), Err(_)) => a.cmp(b),
                    }
                });
                parts.fold(Ordering::Equal, Ordering::then).then(self.pre.len().cmp(&other.pre.len()))
            }
        })
    }

    pub(super) fn call<'a>(&self, name: &str, args: &[Value<'a>]) -> Option<Evaluated<'a>> {
        let number = |at: usize| i64::try_from(self.numbers[at]).unwrap_or(i64::MAX);
        Some(Ok(match (name, args) {
            ("major", []) => Value::Int(number(0)),
            ("minor", []) => Value::Int(number(1)),
            ("patch", []) => Value::Int(number(2)),
            (_, [Value::Opaque(other)]) => {
                let Opaque::Semver(other) = &**other else { return None };
                let order = self.order(other);
                match name {
                    "isGreaterThan" => Value::Bool(order.is_gt()),
                    "isLessThan" => Value::Bool(order.is_lt()),
                    "compareTo" => Value::Int(order as i64),
                    _ => return None,
                }
            }
            _ => return None,
        }))
    }
}

/// The version as a value.
pub(super) fn value<'a>(version: Version) -> Value<'a> {
    Value::Opaque(Rc::new(Opaque::Semver(version)))
}
