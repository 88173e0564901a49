//! A question, and what is answered to it, before both become messages.

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{SOA, name::CNAME};
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Question {
    /// The name, in small letters.
    pub name: Name,
    /// The type of records.
    pub kind: RecordType,
    /// Whether signatures are wanted.
    pub dnssec: bool,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// How it went.
    pub code: ResponseCode,
    /// Whether it comes from whom the zone belongs to.
    pub authoritative: bool,
    /// Whether records are missing for want of room.
    pub truncated: bool,
    /// Whether signatures have been checked.
    pub verified: bool,
    /// The records asked for.
    pub answers: Vec<Record>,
    /// Who knows, or how long nobody will.
    pub authorities: Vec<Record>,
    /// What will be asked next.
    pub additionals: Vec<Record>,
}

impl Reply {
    /// An answer without records.
    pub fn empty(code: ResponseCode) -> Self {
        Self {
            code,
            authoritative: false,
            truncated: false,
            verified: false,
            answers: Vec::new(),
            authorities: Vec::new(),
            additionals: Vec::new(),
        }
    }

    /// Records of a zone of our own.
    pub fn records(answers: Vec<Record>) -> Self {
        Self { authoritative: true, answers, ..Self::empty(ResponseCode::NoError) }
    }

    /// That a name of a zone of our own does not exist, or has no records of the type: true for `ttl` seconds.
    pub fn nothing(code: ResponseCode, zone: &Name, ttl: u32) -> Self {
        Self { authoritative: true, authorities: vec![authority(zone, ttl)], ..Self::empty(code) }
    }

    /// The name that the answer goes on with: the target of a CNAME whose own records are not in it.
    pub fn unresolved(&self, kind: RecordType) -> Option<&Name> {
        if matches!(kind, RecordType::CNAME | RecordType::ANY) {
            return None;
        }
        match &self.answers.last()?.data {
            RData::CNAME(CNAME(target)) => Some(target),
            _ => None,
        }
    }
}

/// The start of authority of a zone of our own.
pub fn authority(zone: &Name, ttl: u32) -> Record {
    let below = |label: &str| {
        Name::from_ascii(label).and_then(|name| name.append_domain(zone)).unwrap_or_else(|_| zone.clone())
    };
    // The serial number is of no use to anybody: nobody transfers the zone.
    let soa = SOA::new(below("ns.dns"), below("hostmaster"), 1, 7200, 1800, 86400, ttl);
    Record::from_rdata(zone.clone(), ttl, RData::SOA(soa))
}

/// A code as configurations, logs and metrics have it.
pub fn code(code: ResponseCode) -> &'static str {
    match code {
        ResponseCode::NoError => "NOERROR",
        ResponseCode::FormErr => "FORMERR",
        ResponseCode::ServFail => "SERVFAIL",
        ResponseCode::NXDomain => "NXDOMAIN",
        ResponseCode::NotImp => "NOTIMP",
        ResponseCode::Refused => "REFUSED",
        ResponseCode::NotAuth => "NOTAUTH",
        ResponseCode::BADVERS => "BADVERS",
        _ => "other",
    }
}
