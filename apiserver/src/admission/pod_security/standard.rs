//! The standards to which a namespace's labels hold its pods.
//!
//! Counterpart of upstream's `pod-security-admission/api`.

use std::{collections::BTreeMap, fmt};

use api::field::{Errors, Path};

/// What the labels begin with, and what is told in the audit log.
pub const PREFIX: &str = "pod-security.kubernetes.io/";

/// How much pods may ask for, from everything to least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything.
    Privileged,
    /// What does not lead out of the pod.
    Baseline,
    /// What a careful author needs.
    Restricted,
}

/// A level as some minor version of 1 had it, or the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standard {
    /// The level.
    pub level: Level,
    /// The version; none for the latest.
    pub version: Option<u64>,
}

/// A namespace's standards.
pub struct Policy {
    /// What pods are held to.
    pub enforce: Standard,
    /// What the audit log tells of.
    pub audit: Standard,
    /// What their authors are warned of.
    pub warn: Standard,
    /// The labels that say nothing that can be understood.
    pub wrong: Errors,
}

impl Policy {
    /// What labels say. What cannot be understood holds pods to the strictest level, and warns of nothing.
    pub fn of<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let said: BTreeMap<&str, &str> =
            labels.filter_map(|(label, value)| Some((label.strip_prefix(PREFIX)?, value))).collect();
        let mut wrong = Errors::default();
        let modes =
            [("enforce", Level::Restricted), ("audit", Level::Privileged), ("warn", Level::Privileged)];
        let [enforce, audit, mut warn] = modes.map(|(mode, unclear)| {
            let mut unread = |label: &str, value: &str, why: &str| {
                wrong.invalid(&Path::new("metadata.labels").key(&format!("{PREFIX}{label}")), value, why);
            };
            let level = said.get(mode).map_or(Level::Privileged, |text| {
                Level::read(text).inspect_err(|why| unread(mode, text, why)).unwrap_or(unclear)
            });
            let of = format!("{mode}-version");
            let version = said
                .get(&*of)
                .and_then(|text| version(text).inspect_err(|why| unread(&of, text, why)).unwrap_or_default());
            Standard { level, version }
        });
        let is_clear = said.get("enforce").is_some_and(|level| Level::read(level).is_ok());
        if is_clear && !said.contains_key("warn") {
            warn.level = enforce.level;
            if !said.contains_key("warn-version") {
                warn.version = enforce.version;
            }
        }
        Self { enforce, audit, warn, wrong }
    }
}

impl Level {
    fn read(text: &str) -> Result<Self, &'static str> {
        let all = [Self::Privileged, Self::Baseline, Self::Restricted];
        let known = all.into_iter().find(|level| level.as_str() == text);
        known.ok_or("must be one of privileged, baseline, restricted")
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }
}

/// A minor version, none for the latest; only as it would be written, without `+5` and `05`.
fn version(text: &str) -> Result<Option<u64>, &'static str> {
    let minor = text.strip_prefix("v1.").and_then(|minor| minor.parse::<u64>().ok());
    match minor.filter(|minor| text == format!("v1.{minor}")) {
        None if text != "latest" => Err("must be \"latest\" or \"v1.x\""),
        minor => Ok(minor),
    }
}

impl fmt::Display for Standard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.version.map_or("latest".to_owned(), |minor| format!("v1.{minor}"));
        write!(f, "{}:{version}", self.level.as_str())
    }
}

#[cfg(test)]
mod tests;
