//! Questions that are changed before anybody sees them, and their answers back. Upstream counterpart: CoreDNS' plugin
//! `rewrite`, of which the fields `name` and `type` are here.

use api::{Message, message};
use std::str::FromStr as _;

use hickory_proto::rr::{Name, RecordType};
use regex::Regex;

use crate::reply::{Question, Reply};

/// One rule.
#[derive(Debug, Clone)]
pub struct Rewrite {
    goes_on: bool,
    change: Change,
    /// Whether names in the answer that are the changed one become the asked one again.
    auto: bool,
    /// Patterns of names in the answer and what they become.
    answers: Vec<(Regex, String)>,
}

#[derive(Debug, Clone)]
enum Change {
    Kind(RecordType, RecordType),
    Name(Match, String),
}

#[derive(Debug, Clone)]
enum Match {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Substring(String),
    Regex(Regex),
}

impl Match {
    /// What a name becomes; none if it does not match.
    fn replace(&self, name: &str, to: &str) -> Option<String> {
        match self {
            Self::Exact(from) => (name == from).then(|| to.to_owned()),
            Self::Prefix(from) => name.strip_prefix(&**from).map(|rest| format!("{to}{rest}")),
            Self::Suffix(from) => name.strip_suffix(&**from).map(|rest| format!("{rest}{to}")),
            Self::Substring(from) => name.contains(&**from).then(|| name.replace(&**from, to)),
            Self::Regex(pattern) => pattern.captures(name).map(|groups| filled(to, &groups)),
        }
    }
}

/// A text with the groups of a match in place of `{0}`, `{1}` and so on.
fn filled(text: &str, groups: &regex::Captures<'_>) -> String {
    let mut filled = text.to_owned();
    for (number, group) in groups.iter().enumerate() {
        filled = filled.replace(&format!("{{{number}}}"), group.map_or("", |group| group.as_str()));
    }
    filled
}

impl Rewrite {
    /// Reads a rule's words.
    ///
    /// # Errors
    /// What is not known, by name.
    pub fn parse(words: &[String]) -> Result<Self, Message> {
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        let goes_on = words.first() == Some(&"continue");
        if matches!(words.first(), Some(&("continue" | "stop"))) {
            words.remove(0);
        }
        match *words {
            ["type", from, to] => {
                let kind = |word| RecordType::from_str(word).map_err(|_| format!("invalid type '{word}'"));
                Ok(Self {
                    goes_on,
                    change: Change::Kind(kind(from)?, kind(to)?),
                    auto: false,
                    answers: Vec::new(),
                })
            }
            ["name", ref rest @ ..] => Self::of_name(goes_on, rest),
            [field, ..] => Err(message!("invalid rule type '{field}'")),
            [] => Err("a rule without words".into()),
        }
    }

    fn of_name(goes_on: bool, words: &[&str]) -> Result<Self, Message> {
        let (matching, from, to, mut rest) = match *words {
            [kind @ ("exact" | "prefix" | "suffix" | "substring" | "regex"), from, to, ref rest @ ..] => {
                (kind, from, to, rest)
            }
            [from, to, ref rest @ ..] => ("exact", from, to, rest),
            _ => return Err("a rule for names needs what to replace by what".into()),
        };
        let full = |name: &str| format!("{}.", name.trim_end_matches('.').to_lowercase());
        let regex =
            |pattern: &str| Regex::new(pattern).map_err(|why| format!("invalid regular expression: {why}"));
        let (from, to) = match matching {
            "exact" => (Match::Exact(full(from)), full(to)),
            "prefix" => (Match::Prefix(from.to_lowercase()), to.to_lowercase()),
            "suffix" => (Match::Suffix(full(from)), full(to)),
            "substring" => (Match::Substring(from.to_lowercase()), to.to_lowercase()),
            _ => (Match::Regex(regex(from)?), to.to_owned()),
        };
        let mut rule = Self {
            goes_on,
            auto: matches!(from, Match::Exact(_)),
            change: Change::Name(from, to),
            answers: Vec::new(),
        };
        while !rest.is_empty() {
            rest = match *rest {
                ["answer", "auto", ref rest @ ..] => {
                    rule.auto = true;
                    rest
                }
                ["answer", "name", from, to, ref rest @ ..] => {
                    rule.answers.push((regex(from)?, to.to_owned()));
                    rest
                }
                _ => return Err(message!("unexpected '{}' in a rule for names", rest.join(" "))),
            };
        }
        Ok(rule)
    }
}

/// What was changed about a question, to be changed back in its answer.
#[derive(Debug)]
pub struct Changed<'a> {
    asked: Name,
    name: Name,
    auto: bool,
    answers: Vec<&'a (Regex, String)>,
}

/// Changes a question by the rules; none if nothing matched.
pub fn change<'a>(rules: &'a [Rewrite], question: &mut Question) -> Option<Changed<'a>> {
    if rules.is_empty() {
        return None;
    }
    let asked = question.name.clone();
    let mut changed = None;
    for rule in rules {
        let matched = match &rule.change {
            Change::Kind(from, to) if question.kind == *from => {
                question.kind = *to;
                true
            }
            Change::Kind(..) => false,
            Change::Name(from, to) => {
                let new = from.replace(&question.name.to_ascii(), to);
                // A name that would be none, too long for instance, is left as it is.
                match new.and_then(|name| Name::from_ascii(name).ok()) {
                    Some(mut name) => {
                        name.set_fqdn(true);
                        question.name = name.to_lowercase();
                        true
                    }
                    None => false,
                }
            }
        };
        if !matched {
            continue;
        }
        let changed = changed.get_or_insert_with(|| Changed {
            asked: asked.clone(),
            name: asked.clone(),
            auto: false,
            answers: Vec::new(),
        });
        changed.name = question.name.clone();
        changed.auto |= rule.auto;
        changed.answers.extend(&rule.answers);
        if !rule.goes_on {
            break;
        }
    }
    changed
}

impl Changed<'_> {
    /// Changes an answer back.
    pub fn undo(&self, reply: &mut Reply) {
        let sections = [&mut reply.answers, &mut reply.authorities, &mut reply.additionals];
        for record in sections.into_iter().flatten() {
            if self.auto && record.name == self.name {
                record.name = self.asked.clone();
            }
            for (pattern, to) in &self.answers {
                let name = record.name.to_ascii();
                let new = pattern.captures(&name).map(|groups| filled(to, &groups));
                if let Some(Ok(mut new)) = new.map(Name::from_ascii) {
                    new.set_fqdn(true);
                    record.name = new;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
