//! Names from a hosts file and from lines like in one. Upstream counterpart: CoreDNS' plugin `hosts`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Instant, SystemTime};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::PTR;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use parking_lot::Mutex;

use crate::corefile::HostsSettings;
use crate::reply::{Question, Reply};

/// What is known from a hosts file and the lines that add to it.
#[derive(Debug)]
pub struct Hosts {
    settings: HostsSettings,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    addresses: HashMap<Name, Vec<IpAddr>>,
    names: HashMap<IpAddr, Vec<Name>>,
    /// The time and the size of the file that was read; none if there was none.
    version: Option<(SystemTime, u64)>,
    looked: Instant,
}

impl Hosts {
    /// Reads the file; one that cannot be read is as good as empty, and said in the log.
    pub fn new(settings: HostsSettings) -> Self {
        let known = Known::read(&settings, version(&settings));
        Self { settings, known: Mutex::new(known) }
    }

    /// The answer to a question; none if it is for others.
    pub fn reply(&self, question: &Question) -> Option<Reply> {
        let settings = &self.settings;
        let mut known = self.known.lock();
        if !settings.reload.is_zero() && known.looked.elapsed() >= settings.reload {
            match version(settings) {
                same if same == known.version => known.looked = Instant::now(),
                other => *known = Known::read(settings, other),
            }
        }
        let record = |data| Record::from_rdata(question.name.clone(), settings.ttl, data);
        if question.kind == RecordType::PTR {
            // Whatever the zones say; what is not known here is for others.
            let net = question.name.parse_arpa_name().ok()?;
            let names = known.names.get(&net.addr()).filter(|_| net.prefix_len() == net.max_prefix_len())?;
            return Some(Reply::records(
                names.iter().map(|name| record(RData::PTR(PTR(name.clone())))).collect(),
            ));
        }
        let zone = settings.zones.iter().find(|zone| zone.zone_of(&question.name))?;
        let addresses = known.addresses.get(&question.name);
        let records = addresses.into_iter().flatten().filter_map(|address| match (address, question.kind) {
            (IpAddr::V4(ip), RecordType::A) => Some(record(RData::A((*ip).into()))),
            (IpAddr::V6(ip), RecordType::AAAA) => Some(record(RData::AAAA((*ip).into()))),
            _ => None,
        });
        let records: Vec<Record> = records.collect();
        match addresses {
            Some(_) if !records.is_empty() => Some(Reply::records(records)),
            Some(_) => Some(Reply::nothing(ResponseCode::NoError, zone, settings.ttl)),
            None if settings.fallthrough.covers(&question.name) => None,
            None => Some(Reply::nothing(ResponseCode::NXDomain, zone, settings.ttl)),
        }
    }
}

impl Known {
    fn read(settings: &HostsSettings, version: Option<(SystemTime, u64)>) -> Self {
        let looked = Instant::now();
        let mut known = Self { addresses: HashMap::new(), names: HashMap::new(), version, looked };
        let text = std::fs::read_to_string(&settings.file).unwrap_or_else(|error| {
            tracing::warn!(file = %settings.file.display(), %error, "Cannot read hosts");
            String::new()
        });
        for line in text.lines() {
            let said = line.split('#').next().unwrap_or_default();
            known.add(settings, said.split_whitespace());
        }
        for line in &settings.lines {
            known.add(settings, line.iter().map(String::as_str));
        }
        known
    }

    fn add<'a>(&mut self, settings: &HostsSettings, mut words: impl Iterator<Item = &'a str>) {
        let Some(address) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else { return };
        for name in words.filter_map(|word| Name::from_ascii(word).ok()) {
            let mut name = name.to_lowercase();
            name.set_fqdn(true);
            if settings.zones.iter().any(|zone| zone.zone_of(&name)) {
                if settings.reverse {
                    self.names.entry(address).or_default().push(name.clone());
                }
                self.addresses.entry(name).or_default().push(address);
            }
        }
    }
}

/// What changes when the file does.
fn version(settings: &HostsSettings) -> Option<(SystemTime, u64)> {
    let file = std::fs::metadata(&settings.file).ok()?;
    Some((file.modified().ok()?, file.len()))
}

#[cfg(test)]
mod tests;
