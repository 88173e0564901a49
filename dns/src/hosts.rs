//! Names from a hosts file and from lines like in one. Upstream counterpart: CoreDNS' plugin `hosts`.

use std::collections::HashMap;
use std::net::IpAddr;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::PTR;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::corefile::HostsSettings;
use crate::reply::{Question, Reply};

/// What is known from hosts files.
#[derive(Debug)]
pub struct Hosts {
    settings: HostsSettings,
    addresses: HashMap<Name, Vec<IpAddr>>,
    names: HashMap<IpAddr, Vec<Name>>,
}

impl Hosts {
    /// Reads the file; one that cannot be read is as good as empty, and said in the log.
    pub fn new(settings: HostsSettings) -> Self {
        let mut hosts = Self { settings, addresses: HashMap::new(), names: HashMap::new() };
        let text = hosts.settings.file.as_ref().map(|file| (file, std::fs::read_to_string(file)));
        match text {
            Some((file, Err(error))) => tracing::warn!(file = %file.display(), %error, "Cannot read hosts"),
            Some((_, Ok(text))) => {
                for line in text.lines() {
                    let said = line.split('#').next().unwrap_or_default();
                    hosts.add(said.split_whitespace());
                }
            }
            None => {}
        }
        for line in std::mem::take(&mut hosts.settings.lines) {
            hosts.add(line.iter().map(String::as_str));
        }
        hosts
    }

    fn add<'a>(&mut self, mut words: impl Iterator<Item = &'a str>) {
        let Some(address) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else { return };
        for name in words.filter_map(|word| Name::from_ascii(word).ok()) {
            let mut name = name.to_lowercase();
            name.set_fqdn(true);
            if self.settings.zones.iter().any(|zone| zone.zone_of(&name)) {
                self.names.entry(address).or_default().push(name.clone());
                self.addresses.entry(name).or_default().push(address);
            }
        }
    }

    /// The answer to a question; none if it is for others.
    pub fn reply(&self, question: &Question) -> Option<Reply> {
        let zone = self.settings.zones.iter().find(|zone| zone.zone_of(&question.name))?;
        let record = |data| Record::from_rdata(question.name.clone(), self.settings.ttl, data);
        let address =
            question.name.parse_arpa_name().ok().filter(|net| net.prefix_len() == net.max_prefix_len());
        let (known, records): (bool, Vec<Record>) = match address {
            Some(net) if self.settings.reverse => {
                let names = self.names.get(&net.addr());
                let names = names.filter(|_| question.kind == RecordType::PTR);
                let records = names.into_iter().flatten().map(|name| record(RData::PTR(PTR(name.clone()))));
                (false, records.collect())
            }
            _ => {
                let addresses = self.addresses.get(&question.name);
                let records =
                    addresses.into_iter().flatten().filter_map(|address| match (address, question.kind) {
                        (IpAddr::V4(ip), RecordType::A) => Some(record(RData::A((*ip).into()))),
                        (IpAddr::V6(ip), RecordType::AAAA) => Some(record(RData::AAAA((*ip).into()))),
                        _ => None,
                    });
                (addresses.is_some(), records.collect())
            }
        };
        match (records.is_empty(), known) {
            (false, _) => Some(Reply::records(records)),
            (true, true) => Some(Reply::nothing(ResponseCode::NoError, zone, self.settings.ttl)),
            (true, false) if self.settings.fallthrough.covers(&question.name) => None,
            (true, false) => Some(Reply::nothing(ResponseCode::NXDomain, zone, self.settings.ttl)),
        }
    }
}
