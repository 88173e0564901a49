//! Answers made from the question by patterns. Upstream counterpart: CoreDNS' plugin `template`; of Go's template
//! language what names a part of the question is here.

use api::{Message, message};
use std::str::FromStr as _;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use regex::{Captures, Regex};

use crate::corefile::Fallthrough;
use crate::reply::{self, Question, Reply};

/// Rules for the questions of some zones.
#[derive(Debug, Clone)]
pub struct Template {
    /// The type that is asked for; any if none.
    kind: Option<RecordType>,
    zones: Vec<Name>,
    patterns: Vec<Regex>,
    answers: Vec<Text>,
    authorities: Vec<Text>,
    additionals: Vec<Text>,
    code: ResponseCode,
    /// What goes on although no pattern matched.
    pub fallthrough: Fallthrough,
}

/// A record in the form of zone files, with places to fill.
type Text = Vec<Piece>;

#[derive(Debug, Clone)]
enum Piece {
    Literal(String),
    Name,
    Class,
    Kind,
    Zone,
    Group(String),
    Match(usize),
}

impl Template {
    /// Rules that match nothing but answer with nothing yet.
    pub fn new(kind: Option<RecordType>, zones: Vec<Name>) -> Self {
        Self {
            kind,
            zones,
            patterns: Vec::new(),
            answers: Vec::new(),
            authorities: Vec::new(),
            additionals: Vec::new(),
            code: ResponseCode::NoError,
            fallthrough: Fallthrough::default(),
        }
    }

    /// Adds a pattern of names; without any, every name matches.
    pub fn matching(&mut self, pattern: &str) -> Result<(), Message> {
        let pattern = Regex::new(pattern).map_err(|why| format!("could not parse regex: {why}"))?;
        self.patterns.push(pattern);
        Ok(())
    }

    /// Adds a record to the answer.
    pub fn answer(&mut self, text: &str) -> Result<(), Message> {
        self.answers.push(pieces(text)?);
        Ok(())
    }

    /// Adds a record about who knows.
    pub fn authority(&mut self, text: &str) -> Result<(), Message> {
        self.authorities.push(pieces(text)?);
        Ok(())
    }

    /// Adds a record about what will be asked next.
    pub fn additional(&mut self, text: &str) -> Result<(), Message> {
        self.additionals.push(pieces(text)?);
        Ok(())
    }

    /// Sets how it went.
    pub fn code(&mut self, code: &str) -> Result<(), Message> {
        use ResponseCode::{NXDomain, NoError, NotImp, Refused, ServFail};
        let known = [NoError, NXDomain, ServFail, Refused, NotImp];
        let said = known.into_iter().find(|known| reply::code(*known) == code);
        self.code = said.ok_or_else(|| format!("unknown rcode {code}"))?;
        Ok(())
    }

    /// The answer to a question; none if it is for others.
    pub fn reply(&self, question: &Question) -> Option<Reply> {
        let zone = self
            .zones
            .iter()
            .filter(|zone| zone.zone_of(&question.name))
            .max_by_key(|zone| zone.num_labels())?;
        if self.kind.is_some_and(|kind| kind != question.kind) {
            return None;
        }
        let name = question.name.to_ascii();
        // Without a pattern everything matches, as `.*` does.
        let groups = match &*self.patterns {
            [] => None,
            patterns => match patterns.iter().find_map(|pattern| pattern.captures(&name)) {
                Some(groups) => Some(groups),
                None if self.fallthrough.covers(&question.name) => return None,
                None => return Some(Reply::empty(ResponseCode::NXDomain)),
            },
        };
        let records = |texts: &[Text]| -> Option<Vec<Record>> {
            texts
                .iter()
                .map(|text| record(&filled(text, question, &name, zone, groups.as_ref())).ok())
                .collect()
        };
        let made = (records(&self.answers), records(&self.authorities), records(&self.additionals));
        let (Some(answers), Some(authorities), Some(additionals)) = made else {
            return Some(Reply::empty(ResponseCode::ServFail));
        };
        Some(Reply { authoritative: true, answers, authorities, additionals, ..Reply::empty(self.code) })
    }
}

fn pieces(text: &str) -> Result<Text, Message> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((literal, after)) = rest.split_once("{{") {
        let (place, after) = after.split_once("}}").ok_or("'{{' is not closed")?;
        pieces.push(Piece::Literal(literal.to_owned()));
        let words: Vec<&str> = place.split_whitespace().collect();
        pieces.push(match *words {
            [".Name"] => Piece::Name,
            [".Class"] => Piece::Class,
            [".Type"] => Piece::Kind,
            [".Zone"] => Piece::Zone,
            ["index", ".Match", number] => {
                Piece::Match(number.parse().map_err(|_| format!("'{number}' is no number"))?)
            }
            [word] if word.starts_with(".Group.") => Piece::Group(word[".Group.".len()..].to_owned()),
            _ => return Err(message!("'{{{{{place}}}}}' is not supported")),
        });
        rest = after;
    }
    pieces.push(Piece::Literal(rest.to_owned()));
    Ok(pieces)
}

fn filled(
    text: &Text,
    question: &Question,
    name: &str,
    zone: &Name,
    groups: Option<&Captures<'_>>,
) -> String {
    let mut filled = String::new();
    for piece in text {
        match piece {
            Piece::Literal(literal) => filled += literal,
            Piece::Name => filled += name,
            Piece::Class => filled += "IN",
            Piece::Kind => filled += &question.kind.to_string(),
            Piece::Zone => filled += &zone.to_ascii(),
            Piece::Group(group) => {
                filled += groups.and_then(|groups| groups.name(group)).map_or("", |group| group.as_str());
            }
            Piece::Match(0) if groups.is_none() => filled += name,
            Piece::Match(number) => {
                filled += groups.and_then(|groups| groups.get(*number)).map_or("", |group| group.as_str());
            }
        }
    }
    filled
}

/// Reads a record: `name [ttl] [class] type data`.
pub fn record(text: &str) -> Result<Record, Message> {
    let mut rest = text.trim();
    let mut word = || {
        let (word, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        rest = after.trim_start();
        word
    };
    let mut name = Name::from_ascii(word()).map_err(Message::of)?;
    name.set_fqdn(true);
    let (mut ttl, mut kind) = (3600, word());
    loop {
        match kind.parse() {
            Ok(seconds) => ttl = seconds,
            Err(_) if kind == "IN" => {}
            Err(_) => break,
        }
        kind = word();
    }
    let kind = RecordType::from_str(kind).map_err(|_| format!("'{kind}' is no type of records"))?;
    let data = RData::try_from_str(kind, rest).map_err(Message::of)?;
    Ok(Record::from_rdata(name, ttl, data))
}

#[cfg(test)]
mod tests;
