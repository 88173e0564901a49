//! Answers about the cluster's names: a question, the settings and what is known give a reply.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{NS, PTR, SRV, TXT, name::CNAME};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort};

use super::index::{Contents, Known, cluster_addresses};
use super::{Index, PodNames, Settings};
use crate::reply::{Question, Reply, authority};

/// The version of the specification that names follow.
const SCHEMA_VERSION: &str = "1.1.0";
/// A label holds no more.
const LONGEST_LABEL: usize = 63;

/// What there is at a name.
enum Found {
    /// The name does not exist.
    NoName,
    /// The name exists; there may be records of the type, and what goes with them.
    Records { answers: Vec<Record>, additionals: Vec<Record> },
}

impl Found {
    fn records(answers: Vec<Record>) -> Self {
        Self::Records { answers, additionals: Vec::new() }
    }

    /// A name that only leads to others.
    fn empty() -> Self {
        Self::records(Vec::new())
    }
}

/// An endpoint that takes traffic: one of its addresses, and its ports.
struct Target<'a> {
    endpoint: &'a Endpoint,
    address: IpAddr,
    ports: &'a [EndpointPort],
}

impl Settings {
    /// The answer to a question; none if it is for others.
    pub fn reply(&self, question: &Question, index: &Index) -> Option<Reply> {
        let zone = self
            .zones
            .iter()
            .filter(|zone| zone.zone_of(&question.name))
            .max_by_key(|zone| zone.num_labels())?;
        // In this order: what is read in between is in neither.
        let (synced, known) = (index.synced(), index.read());
        let found = match question.name.parse_arpa_name() {
            Ok(net) if net.prefix_len() == net.max_prefix_len() => self.address(question, net.addr(), &known),
            _ => self.name(question, zone, &known),
        };
        match found {
            Found::NoName if !synced => Some(Reply::empty(ResponseCode::ServFail)),
            Found::NoName if self.fallthrough.covers(&question.name) => None,
            Found::NoName => Some(Reply::nothing(ResponseCode::NXDomain, zone, self.ttl)),
            Found::Records { answers, .. } if answers.is_empty() => {
                Some(Reply::nothing(ResponseCode::NoError, zone, self.ttl))
            }
            Found::Records { answers, additionals } => Some(Reply { additionals, ..Reply::records(answers) }),
        }
    }

    fn record(&self, name: &Name, data: RData) -> Record {
        Record::from_rdata(name.clone(), self.ttl, data)
    }

    fn name(&self, question: &Question, zone: &Name, known: &Contents) -> Found {
        // Name::num_labels does not count an asterisk.
        let below = question.name.iter().count() - zone.iter().count();
        let labels: Result<Vec<&str>, _> =
            question.name.iter().take(below).map(std::str::from_utf8).collect();
        let Ok(labels) = labels else { return Found::NoName };
        match *labels {
            [] => self.apex(question, zone, known),
            ["dns-version"] => {
                let text = TXT::new(vec![SCHEMA_VERSION.to_owned()]);
                let records =
                    (question.kind == RecordType::TXT).then(|| self.record(&question.name, RData::TXT(text)));
                Found::records(records.into_iter().collect())
            }
            ["svc" | "pod"] => Found::empty(),
            [.., namespace, "svc" | "pod"] if !self.shows(namespace, known) => Found::NoName,
            [_, "svc" | "pod"] => Found::empty(),
            [address, namespace, "pod"] => self.pod(question, address, namespace, known),
            [service, namespace, "svc"] => self.service(question, zone, known, (namespace, service), None),
            [host, service, namespace, "svc"] if !host.starts_with('_') => {
                self.endpoint(question, known, (namespace, service), host)
            }
            [port, protocol, service, namespace, "svc"] => {
                let Some(asked) = port.strip_prefix('_').zip(protocol.strip_prefix('_')) else {
                    return Found::NoName;
                };
                self.service(question, zone, known, (namespace, service), Some(asked))
            }
            _ => Found::NoName,
        }
    }

    fn shows(&self, namespace: &str, known: &Contents) -> bool {
        (self.namespaces.is_empty() || self.namespaces.iter().any(|shown| shown == namespace))
            && known.has_namespace(namespace)
    }

    /// The zone itself: its name servers are the services that this server is behind.
    fn apex(&self, question: &Question, zone: &Name, known: &Contents) -> Found {
        match question.kind {
            RecordType::SOA => Found::records(vec![authority(zone, self.ttl)]),
            RecordType::NS => {
                let (mut answers, mut additionals) = (Vec::new(), Vec::new());
                for (namespace, service) in
                    self.own_address.into_iter().flat_map(|own| known.by_endpoint(own))
                {
                    let labels = [service.as_bytes(), namespace.as_bytes(), b"svc"];
                    let Ok(name) = Name::from_labels(labels).and_then(|name| name.append_domain(zone)) else {
                        continue;
                    };
                    let service =
                        known.service(namespace, service).and_then(|known| known.service.as_deref());
                    additionals.extend(
                        service
                            .into_iter()
                            .flat_map(cluster_addresses)
                            .map(|ip| self.any_address_record(&name, ip)),
                    );
                    answers.push(self.record(zone, RData::NS(NS(name))));
                }
                Found::Records { answers, additionals }
            }
            _ => Found::empty(),
        }
    }

    fn pod(&self, question: &Question, address: &str, namespace: &str, known: &Contents) -> Found {
        // Dashes stand for dots, or for colons where there are none to stand for dots.
        let parsed = address.replace('-', ".").parse().or_else(|_| address.replace('-', ":").parse());
        let Ok(address) = parsed else { return Found::NoName };
        let exists = match self.pods {
            PodNames::Disabled => false,
            PodNames::Insecure => true,
            PodNames::Verified => known.has_pod(namespace, address),
        };
        match exists {
            true => Found::records(
                self.address_record(&question.name, question.kind, address).into_iter().collect(),
            ),
            false => Found::NoName,
        }
    }

    /// The record of an address, if it is of the type.
    fn address_record(&self, name: &Name, kind: RecordType, address: IpAddr) -> Option<Record> {
        match (address, kind) {
            (IpAddr::V4(ip), RecordType::A) => Some(self.record(name, RData::A(ip.into()))),
            (IpAddr::V6(ip), RecordType::AAAA) => Some(self.record(name, RData::AAAA(ip.into()))),
            _ => None,
        }
    }

    /// A record of an address, of whichever type.
    fn any_address_record(&self, name: &Name, address: IpAddr) -> Record {
        match address {
            IpAddr::V4(ip) => self.record(name, RData::A(ip.into())),
            IpAddr::V6(ip) => self.record(name, RData::AAAA(ip.into())),
        }
    }

    /// A service's name, or one of its ports' (`_name._protocol`).
    fn service(
        &self,
        question: &Question,
        zone: &Name,
        known: &Contents,
        (namespace, name): (&str, &str),
        asked: Option<(&str, &str)>,
    ) -> Found {
        let Some(known) = known.service(namespace, name) else { return Found::NoName };
        let Some(spec) = known.service.as_ref().and_then(|service| service.spec.as_ref()) else {
            return Found::NoName;
        };
        if spec.type_.as_deref() == Some("ExternalName") {
            let target = spec.external_name.as_deref().and_then(|target| Name::from_ascii(target).ok());
            let (Some(mut target), None) = (target, asked) else { return Found::NoName };
            target.set_fqdn(true);
            return Found::records(vec![self.record(&question.name, RData::CNAME(CNAME(target)))]);
        }
        let Ok(full) = Name::from_labels([name, namespace, "svc"].map(str::as_bytes))
            .and_then(|name| name.append_domain(zone))
        else {
            return Found::NoName;
        };
        let matches = |port: Option<&str>, protocol: Option<&str>| {
            asked.is_none_or(|(name, wanted)| {
                port == Some(name) && protocol.unwrap_or("TCP").eq_ignore_ascii_case(wanted)
            })
        };
        if is_headless(known.service.as_deref()) {
            return self.headless(question, &full, known, matches, asked.is_some());
        }
        let ports: BTreeSet<u16> = spec
            .ports
            .iter()
            .flatten()
            .filter(|port| matches(port.name.as_deref(), port.protocol.as_deref()))
            .filter_map(|port| u16::try_from(port.port).ok())
            .collect();
        if ports.is_empty() {
            return Found::NoName;
        }
        let addresses = known.service.iter().flat_map(|service| cluster_addresses(service));
        if question.kind == RecordType::SRV {
            let additionals = addresses.map(|address| self.any_address_record(&full, address)).collect();
            let servers = ports.into_iter().map(|port| (port, full.clone())).collect();
            return self.servers(question, servers, additionals);
        }
        Found::records(
            addresses.filter_map(|ip| self.address_record(&question.name, question.kind, ip)).collect(),
        )
    }

    /// A service without a cluster address: its endpoints that are ready.
    fn headless(
        &self,
        question: &Question,
        full: &Name,
        known: &Known,
        matches: impl Fn(Option<&str>, Option<&str>) -> bool,
        of_port: bool,
    ) -> Found {
        let ports = |target: &Target<'_>| -> Vec<u16> {
            let ports = target.ports.iter();
            numbers(ports.filter(|port| matches(port.name.as_deref(), port.protocol.as_deref()))).collect()
        };
        let targets = targets(known).filter(|target| !of_port || !ports(target).is_empty());
        if question.kind != RecordType::SRV {
            return self.addresses(question, targets.map(|target| target.address).collect());
        }
        let (mut additionals, mut servers) = (BTreeMap::new(), BTreeSet::new());
        for target in targets {
            let Ok(host) = full.prepend_label(&*self.host(&target)) else { continue };
            servers.extend(ports(&target).into_iter().map(|port| (port, host.clone())));
            let record = || self.any_address_record(&host, target.address);
            additionals.entry(target.address).or_insert_with(record);
        }
        match additionals.is_empty() {
            true => Found::NoName,
            false => self.servers(question, servers, additionals.into_values().collect()),
        }
    }

    /// The name of an endpoint below its service.
    fn endpoint(
        &self,
        question: &Question,
        known: &Contents,
        (namespace, name): (&str, &str),
        host: &str,
    ) -> Found {
        let known = known.service(namespace, name).filter(|known| known.service.is_some());
        let (mut addresses, mut servers) = (BTreeSet::new(), BTreeSet::new());
        for target in known.into_iter().flat_map(targets).filter(|target| self.host(target) == host) {
            addresses.insert(target.address);
            servers.extend(numbers(target.ports).map(|port| (port, question.name.clone())));
        }
        if question.kind != RecordType::SRV || addresses.is_empty() {
            return self.addresses(question, addresses);
        }
        let additionals =
            addresses.into_iter().map(|ip| self.any_address_record(&question.name, ip)).collect();
        self.servers(question, servers, additionals)
    }

    /// A name that exists if it has addresses.
    fn addresses(&self, question: &Question, addresses: BTreeSet<IpAddr>) -> Found {
        if addresses.is_empty() {
            return Found::NoName;
        }
        let records =
            addresses.into_iter().filter_map(|ip| self.address_record(&question.name, question.kind, ip));
        Found::records(records.collect())
    }

    /// Servers of the same standing, their weights adding up to about a hundred.
    fn servers(
        &self,
        question: &Question,
        servers: BTreeSet<(u16, Name)>,
        additionals: Vec<Record>,
    ) -> Found {
        let weight = (100 / u16::try_from(servers.len().max(1)).unwrap_or(100)).max(1);
        let record = |(port, host)| self.record(&question.name, RData::SRV(SRV::new(0, weight, port, host)));
        Found::Records { answers: servers.into_iter().map(record).collect(), additionals }
    }

    /// The label under which an endpoint is found below its service.
    fn host(&self, target: &Target<'_>) -> String {
        if let Some(name) = target.endpoint.hostname.as_ref().filter(|name| !name.is_empty()) {
            return name.to_ascii_lowercase();
        }
        let pod = target.endpoint.target_ref.as_ref().and_then(|target| target.name.as_ref());
        match pod.filter(|name| self.endpoint_pod_names && name.len() <= LONGEST_LABEL && !name.contains('.'))
        {
            Some(pod) => pod.clone(),
            None => target.address.to_string().replace(['.', ':'], "-"),
        }
    }

    /// The names of an address.
    fn address(&self, question: &Question, address: IpAddr, known: &Contents) -> Found {
        let name = |labels: &[&str]| {
            let labels = labels.iter().map(|label| label.as_bytes());
            Name::from_labels(labels).and_then(|name| name.append_domain(&self.primary)).ok()
        };
        let names: Vec<Name> = match known.by_cluster_address(address) {
            Some((namespace, service)) if self.shows(namespace, known) => {
                name(&[service, namespace, "svc"]).into_iter().collect()
            }
            _ => {
                let keys = known.by_endpoint(address).filter(|(namespace, _)| self.shows(namespace, known));
                let hosts = keys.filter_map(|(namespace, service)| {
                    let known = known.service(namespace, service)?;
                    let target = targets(known).find(|target| target.address == address)?;
                    name(&[&self.host(&target), service, namespace, "svc"])
                });
                hosts.collect::<BTreeSet<_>>().into_iter().collect()
            }
        };
        if names.is_empty() {
            return Found::NoName;
        }
        let records = names.into_iter().filter(|_| question.kind == RecordType::PTR);
        Found::records(records.map(|name| self.record(&question.name, RData::PTR(PTR(name)))).collect())
    }
}

fn is_headless(service: Option<&Service>) -> bool {
    let spec = service.and_then(|service| service.spec.as_ref());
    spec.is_some_and(|spec| spec.cluster_ip.as_deref().is_none_or(|ip| ip == "None" || ip.is_empty()))
}

/// The endpoints that take traffic.
fn targets(known: &Known) -> impl Iterator<Item = Target<'_>> {
    known.slices.values().flat_map(|slice| {
        let ports = slice.ports.as_deref().unwrap_or_default();
        let ready = slice.endpoints.iter().flatten().filter(|endpoint| {
            endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) != Some(false)
        });
        ready.flat_map(move |endpoint| {
            let addresses = endpoint.addresses.iter().filter_map(|address| address.parse().ok());
            addresses.map(move |address| Target { endpoint, address, ports })
        })
    })
}

fn numbers<'a>(ports: impl IntoIterator<Item = &'a EndpointPort>) -> impl Iterator<Item = u16> {
    ports.into_iter().filter_map(|port| u16::try_from(port.port?).ok())
}
