//! Cluster addresses and node ports of services.
//!
//! An address is taken in the same transaction that writes the service, as a key of its own that must not
//! exist: none is ever handed out twice, and a crash leaves nothing to repair. Cluster addresses are
//! `IPAddress` objects (KEP-1880), drawn from all ServiceCIDRs that are ready; node ports are keys below
//! `/registry/skiff/nodeports/`.

mod ranges;

use std::{collections::BTreeSet, net::Ipv4Addr, ops::RangeInclusive};

use api::{
    field::{Errors, Path},
    object::ObjectExt as _,
    status::Status,
};
use async_trait::async_trait;
use rand::RngExt as _;
use ranges::Range;
use serde_json::{Value, json};

use crate::{
    commit::{Rider, Write},
    context::Ctx,
    resources::{IP_ADDRESSES, SERVICES},
    stamp::{new_uid, now},
    store::Op,
};

const ADDRESSES: &str = IP_ADDRESSES.prefix;
const NODE_PORTS: &str = "/registry/skiff/nodeports/";
/// Random picks before the free ones are looked up.
const RANDOM_TRIES: usize = 8;

/// One thing a service takes.
#[derive(Debug, Clone)]
struct Claim {
    what: What,
    /// Asked for by name: no other will do.
    requested: bool,
    tries: usize,
}

#[derive(Debug, Clone, PartialEq)]
enum What {
    Address(Ipv4Addr),
    /// A node port, and where the service shows it: an index into `spec.ports`, or `None` for
    /// `healthCheckNodePort`.
    Port(u16, Option<usize>),
}

/// What one write of a service takes. Rides along with the service.
#[derive(Debug, Default)]
struct Addresses {
    claims: Vec<Claim>,
}

/// What services take and give back.
pub fn rider(write: &Write<'_>) -> Option<Box<dyn Rider>> {
    SERVICES.is(&write.ctx.kind).then(|| Box::new(Addresses::default()) as Box<dyn Rider>)
}

#[async_trait]
impl Rider for Addresses {
    /// Fills in what the service takes.
    async fn choose(&mut self, write: &mut Write<'_>) -> Result<(), Status> {
        if write.ends {
            return Ok(());
        }
        let (ctx, service) = (write.ctx, &mut write.new);
        kinds::builtin::service::settle_families(service, write.old);
        let (had_address, had_ports) = held_by(write.old);
        self.claim_address(ctx, service, had_address)?;
        self.claim_ports(ctx, service, &had_ports)
    }

    /// Claims, in order; then what is given back.
    async fn operations(&mut self, write: &Write<'_>) -> Result<Vec<Op>, Status> {
        let (namespace, name) = (write.new.namespace(), write.new.name());
        let claims = self.claims.iter().map(|claim| match claim.what {
            What::Address(ip) => {
                Op::create(format!("{ADDRESSES}{ip}"), ip_address(ip, namespace, name).to_string())
            }
            What::Port(port, _) => Op::create(
                format!("{NODE_PORTS}{port}"),
                json!({"service": format!("{namespace}/{name}")}).to_string(),
            ),
        });
        let mut ops: Vec<Op> = claims.collect();
        let (had_address, had_ports) = held_by(write.old);
        let (address, ports) = held_by((!write.ends).then_some(&write.new));
        let gone = had_address.filter(|had| Some(*had) != address);
        give_back(write, gone, had_ports.difference(&ports), &mut ops).await?;
        Ok(ops)
    }

    /// What seemed free was taken meanwhile: picks again, and refuses when it was asked for by name.
    async fn conflict(&mut self, write: &mut Write<'_>, index: usize) -> Result<(), Status> {
        // Else a key that is given back has changed: it is looked at again.
        let Some(claim) = self.claims.get_mut(index) else { return Ok(()) };
        let (ctx, service) = (write.ctx, &mut write.new);
        if claim.requested {
            return Err(refuse(ctx, service, &claim.what, Denied::Taken));
        }
        claim.tries += 1;
        let search = claim.tries > RANDOM_TRIES;
        // A commit names no key twice: what the service claims itself is taken, too.
        let own = ports_of(service);
        claim.what = match &claim.what {
            What::Address(_) if search => What::Address(free_address(ctx).await?),
            What::Address(_) => What::Address(random_address(&ranges::ready(ctx))?),
            What::Port(_, at) if search => What::Port(free_port(ctx, &own).await?, *at),
            What::Port(_, at) => What::Port(pick_port(&ctx.api.config.ranges.node_ports, &own)?, *at),
        };
        show(service, &claim.what);
        Ok(())
    }
}

/// Deletes the keys of what is the service's; what another one holds stays.
async fn give_back(
    write: &Write<'_>,
    address: Option<Ipv4Addr>,
    ports: impl Iterator<Item = &u16>,
    ops: &mut Vec<Op>,
) -> Result<(), Status> {
    let keys = address.map(|ip| format!("{ADDRESSES}{ip}")).into_iter();
    for key in keys.chain(ports.map(|port| format!("{NODE_PORTS}{port}"))) {
        let Some(found) = write.ctx.api.store.get(&key).await? else { continue };
        let holder: Value = serde_json::from_slice(&found.value).map_err(Status::internal)?;
        if is_held_by(&holder, &write.new) {
            ops.push(Op::delete(key, found.revision));
        }
    }
    Ok(())
}

impl Addresses {
    fn claim_address(&mut self, ctx: &Ctx, object: &mut Value, had: Option<Ipv4Addr>) -> Result<(), Status> {
        let kind = object.str_at(&["spec", "type"]);
        if kind == "ExternalName" {
            return Ok(());
        }
        let given = object.str_at(&["spec", "clusterIP"]).to_owned();
        if given == "None" {
            return Ok(());
        }
        let asked: Option<Ipv4Addr> = given.parse().ok();
        if let Some(ip) = asked.filter(|ip| had == Some(*ip)) {
            show(object, &What::Address(ip));
            return Ok(());
        }
        let ranges = ranges::ready(ctx);
        let (ip, requested) = match asked {
            Some(ip) => (ip, true),
            // What does not parse was refused by validation.
            None => (random_address(&ranges)?, false),
        };
        let what = What::Address(ip);
        show(object, &what);
        if !ranges.iter().any(|range| range.contains(ip)) {
            return Err(refuse(ctx, object, &what, Denied::OutOfRange));
        }
        self.claims.push(Claim { what, requested, tries: 0 });
        Ok(())
    }

    fn claim_ports(&mut self, ctx: &Ctx, object: &mut Value, had: &BTreeSet<u16>) -> Result<(), Status> {
        let range = ctx.api.config.ranges.node_ports.clone();
        let kind = object.str_at(&["spec", "type"]).to_owned();
        let local = object.str_at(&["spec", "externalTrafficPolicy"]) == "Local";
        let allocates = object["spec"]["allocateLoadBalancerNodePorts"] != json!(false);
        let mut wanted: Vec<(u16, Option<usize>)> = Vec::new();
        let port_at = |v: &Value| v.as_u64().and_then(|n| u16::try_from(n).ok()).unwrap_or(0);
        if kind == "NodePort" || kind == "LoadBalancer" {
            for (i, port) in object["spec"]["ports"].as_array().into_iter().flatten().enumerate() {
                let port = port_at(&port["nodePort"]);
                if port != 0 || kind == "NodePort" || allocates {
                    wanted.push((port, Some(i)));
                }
            }
        }
        if kind == "LoadBalancer" && local {
            wanted.push((port_at(&object["spec"]["healthCheckNodePort"]), None));
        }
        let mut mine: BTreeSet<u16> = wanted.iter().map(|(p, _)| *p).filter(|p| *p != 0).collect();
        let mut claimed = had.clone();
        for (port, at) in wanted {
            let requested = port != 0;
            let port = if requested { port } else { pick_port(&range, &mine)? };
            mine.insert(port);
            let what = What::Port(port, at);
            show(object, &what);
            // TCP and UDP of one service may share a number.
            if !claimed.insert(port) {
                continue;
            }
            if !range.contains(&port) {
                return Err(refuse(ctx, object, &what, Denied::OutOfRange));
            }
            self.claims.push(Claim { what, requested, tries: 0 });
        }
        Ok(())
    }
}

/// The address and the node ports that a service holds.
fn held_by(service: Option<&Value>) -> (Option<Ipv4Addr>, BTreeSet<u16>) {
    service.map_or((None, BTreeSet::new()), |service| (address_of(service), ports_of(service)))
}

fn address_of(service: &Value) -> Option<Ipv4Addr> {
    (service.str_at(&["spec", "type"]) != "ExternalName")
        .then(|| service.str_at(&["spec", "clusterIP"]).parse().ok())
        .flatten()
}

fn ports_of(service: &Value) -> BTreeSet<u16> {
    let number = |v: &Value| v.as_u64().and_then(|n| u16::try_from(n).ok()).filter(|n| *n != 0);
    let spec = &service["spec"];
    let ports = spec["ports"].as_array().into_iter().flatten().filter_map(|p| number(&p["nodePort"]));
    ports.chain(number(&spec["healthCheckNodePort"])).collect()
}

/// Writes a choice into the service.
fn show(service: &mut Value, what: &What) {
    let spec = &mut service["spec"];
    match what {
        What::Address(ip) => {
            spec["clusterIP"] = json!(ip);
            spec["clusterIPs"] = json!([ip]);
        }
        What::Port(port, Some(i)) => spec["ports"][*i]["nodePort"] = json!(port),
        What::Port(port, None) => spec["healthCheckNodePort"] = json!(port),
    }
}

/// Why a service does not get what it asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Denied {
    Taken,
    OutOfRange,
}

fn refuse(ctx: &Ctx, service: &Value, what: &What, why: Denied) -> Status {
    let mut errors = Errors::default();
    match what {
        What::Address(ip) => {
            // Who only tries is measured with the range of the command line, as upstream.
            let own = ctx.query.dry_run.then_some(Range(ctx.api.config.ranges.addresses));
            let range = ranges::ready(ctx).into_iter().find(|range| range.0.contains(ip)).or(own);
            let more = match (range, why) {
                (None, _) => "the provided network does not match the current range".to_owned(),
                (Some(Range(range)), Denied::OutOfRange) => format!(
                    "the provided IP ({ip}) is not in the valid range. The range of valid IPs is {range}"
                ),
                (Some(_), Denied::Taken) => "provided IP is already allocated".to_owned(),
            };
            let more = format!("failed to allocate IP {ip}: {more}");
            errors.invalid(&Path::new("spec.clusterIPs"), [ip], more);
        }
        What::Port(port, at) => {
            let path = match at {
                Some(i) => Path::new("spec.ports").index(*i).child("nodePort"),
                None => Path::new("spec.healthCheckNodePort"),
            };
            let range = &ctx.api.config.ranges.node_ports;
            let more = match why {
                Denied::Taken => "provided port is already allocated".to_owned(),
                Denied::OutOfRange => format!(
                    "provided port is not in the valid range. The range of valid ports is {}-{}",
                    range.start(),
                    range.end()
                ),
            };
            errors.invalid(&path, port, more);
        }
    }
    ctx.invalid(service.name(), &errors)
}

/// Whether what stands behind a taken address or port names this service.
fn is_held_by(holder: &Value, service: &Value) -> bool {
    let (namespace, name) = (service.namespace(), service.name());
    let parent = |field: &str| holder.str_at(&["spec", "parentRef", field]);
    holder.str_at(&["service"]) == format!("{namespace}/{name}")
        || (parent("namespace") == namespace && parent("name") == name)
}

fn ip_address(ip: Ipv4Addr, namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IPAddress",
        "metadata": {
            "name": ip,
            "uid": new_uid(),
            "creationTimestamp": now(),
            "labels": {
                "ipaddress.kubernetes.io/ip-family": "IPv4",
                "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
            },
        },
        "spec": {"parentRef": {"group": "", "resource": "services", "namespace": namespace, "name": name}},
    })
}

/// The names below a prefix.
async fn taken_below(ctx: &Ctx, prefix: &str) -> Result<BTreeSet<String>, Status> {
    let loaded = ctx.api.store.load(prefix, None).await?;
    Ok(loaded.items.iter().map(|kv| kv.key[prefix.len()..].to_owned()).collect())
}

async fn free_address(ctx: &Ctx) -> Result<Ipv4Addr, Status> {
    let taken = taken_below(ctx, ADDRESSES).await?;
    let mut all = ranges::ready(ctx).into_iter().flat_map(Range::all);
    all.find(|ip| !taken.contains(&ip.to_string())).ok_or_else(addresses_are_full)
}

/// An address of the first range.
fn random_address(ranges: &[Range]) -> Result<Ipv4Addr, Status> {
    ranges.first().map(|range| range.random()).ok_or_else(addresses_are_full)
}

fn addresses_are_full() -> Status {
    Status::internal("failed to allocate a serviceIP: range is full")
}

fn ports_are_full() -> Status {
    Status::internal("failed to allocate a nodePort: range is full")
}

/// A port of the range that is not among `mine`: by chance, or the first one when chance does not find any.
fn pick_port(range: &RangeInclusive<u16>, mine: &BTreeSet<u16>) -> Result<u16, Status> {
    let mut rng = rand::rng();
    let chance = (0..RANDOM_TRIES).map(|_| rng.random_range(range.clone())).find(|port| !mine.contains(port));
    chance.or_else(|| range.clone().find(|port| !mine.contains(port))).ok_or_else(ports_are_full)
}

async fn free_port(ctx: &Ctx, mine: &BTreeSet<u16>) -> Result<u16, Status> {
    let taken = taken_below(ctx, NODE_PORTS).await?;
    ctx.api
        .config
        .ranges
        .node_ports
        .clone()
        .find(|port| !taken.contains(&port.to_string()) && !mine.contains(port))
        .ok_or_else(ports_are_full)
}
