//! Answers about the cluster's names. Pure: a question, the settings and what is known give a reply.

use std::collections::BTreeSet;
use std::net::IpAddr;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{NS, PTR, SRV, TXT, name::CNAME};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::Endpoint;

use super::index::{Contents, Known, cluster_addresses};
use super::{PodNames, Settings};
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

/// An endpoint that takes traffic: its name below the service, its address and its ports.
struct Target<'a> {
    host: String,
    address: IpAddr,
    ports: &'a [k8s_openapi::api::discovery::v1::EndpointPort],
}

impl Settings {
    /// The answer to a question; none if it is for others.
    pub fn reply(&self, question: &Question, known: &Contents) -> Option<Reply> {
        let zone = self
            .zones
            .iter()
            .filter(|zone| zone.zone_of(&question.name))
            .max_by_key(|zone| zone.num_labels())?;
        let found = match question.name.parse_arpa_name() {
            Ok(net) if net.prefix_len() == net.max_prefix_len() => self.address(question, net.addr(), known),
            _ => self.name(question, zone, known),
        };
        match found {
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
        let below = usize::from(question.name.num_labels() - zone.num_labels());
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
            let records = servers(ports.into_iter().map(|port| (port, full.clone())).collect());
            let answers =
                records.into_iter().map(|srv| self.record(&question.name, RData::SRV(srv))).collect();
            let additionals = addresses.map(|address| self.any_address_record(&full, address)).collect();
            return Found::Records { answers, additionals };
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
        let targets = self.targets(known);
        let mut addresses = BTreeSet::new();
        let mut servers_of = BTreeSet::new();
        let mut additionals = Vec::new();
        for target in &targets {
            let ports =
                target.ports.iter().filter(|port| matches(port.name.as_deref(), port.protocol.as_deref()));
            let ports: Vec<u16> = ports.filter_map(|port| u16::try_from(port.port?).ok()).collect();
            if of_port && ports.is_empty() {
                continue;
            }
            let fresh = addresses.insert(target.address);
            let Ok(host) = full.prepend_label(&*target.host) else { continue };
            servers_of.extend(ports.into_iter().map(|port| (port, host.clone())));
            if fresh && question.kind == RecordType::SRV {
                additionals.push(self.any_address_record(&host, target.address));
            }
        }
        if addresses.is_empty() {
            return Found::NoName;
        }
        if question.kind == RecordType::SRV {
            let records = servers(servers_of.into_iter().collect());
            let answers =
                records.into_iter().map(|srv| self.record(&question.name, RData::SRV(srv))).collect();
            return Found::Records { answers, additionals };
        }
        let records =
            addresses.into_iter().filter_map(|ip| self.address_record(&question.name, question.kind, ip));
        Found::records(records.collect())
    }

    /// The name of an endpoint below its service.
    fn endpoint(
        &self,
        question: &Question,
        known: &Contents,
        (namespace, name): (&str, &str),
        host: &str,
    ) -> Found {
        let Some(known) = known.service(namespace, name) else { return Found::NoName };
        if known.service.is_none() {
            return Found::NoName;
        }
        let targets = self.targets(known);
        let of_host: BTreeSet<IpAddr> =
            targets.iter().filter(|target| target.host == host).map(|target| target.address).collect();
        if of_host.is_empty() {
            return Found::NoName;
        }
        if question.kind == RecordType::SRV {
            let ports = targets.iter().filter(|target| target.host == host).flat_map(|target| target.ports);
            let ports: BTreeSet<u16> = ports.filter_map(|port| u16::try_from(port.port?).ok()).collect();
            let records = servers(ports.into_iter().map(|port| (port, question.name.clone())).collect());
            let answers =
                records.into_iter().map(|srv| self.record(&question.name, RData::SRV(srv))).collect();
            let additionals =
                of_host.into_iter().map(|ip| self.any_address_record(&question.name, ip)).collect();
            return Found::Records { answers, additionals };
        }
        let records =
            of_host.into_iter().filter_map(|ip| self.address_record(&question.name, question.kind, ip));
        Found::records(records.collect())
    }

    fn targets<'a>(&self, known: &'a Known) -> Vec<Target<'a>> {
        let mut targets = Vec::new();
        for slice in known.slices.values() {
            let ports = slice.ports.as_deref().unwrap_or_default();
            for endpoint in slice.endpoints.iter().flatten() {
                let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready);
                if ready == Some(false) {
                    continue;
                }
                for address in endpoint.addresses.iter().filter_map(|address| address.parse().ok()) {
                    targets.push(Target { host: self.host(endpoint, address), address, ports });
                }
            }
        }
        targets
    }

    /// The label under which an endpoint is found below its service.
    fn host(&self, endpoint: &Endpoint, address: IpAddr) -> String {
        if let Some(name) = endpoint.hostname.as_ref().filter(|name| !name.is_empty()) {
            return name.to_ascii_lowercase();
        }
        let pod = endpoint.target_ref.as_ref().and_then(|target| target.name.as_ref());
        match pod.filter(|name| self.endpoint_pod_names && name.len() <= LONGEST_LABEL && !name.contains('.'))
        {
            Some(pod) => pod.clone(),
            None => address.to_string().replace(['.', ':'], "-"),
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
                    let target = self.targets(known).into_iter().find(|target| target.address == address)?;
                    name(&[&target.host, service, namespace, "svc"])
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

/// Servers of the same standing, their weights adding up to about a hundred.
fn servers(targets: Vec<(u16, Name)>) -> Vec<SRV> {
    let weight = (100 / u16::try_from(targets.len().max(1)).unwrap_or(100)).max(1);
    targets.into_iter().map(|(port, target)| SRV::new(0, weight, port, target)).collect()
}
