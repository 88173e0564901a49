//! Group versions that other servers have: APIServices that name a Service. Requests to them are passed on ([`pass`]) once
//! they are let in here, and what those servers tell of themselves ([`told`]) is part of what this one tells.
//!
//! Invariant: which they are is a function of the APIServices in the watch cache. Whether they answer is found out by
//! [`crate::controllers`], which writes it into the APIServices. Upstream counterpart: kube-aggregator.

pub mod pass;
pub mod told;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use api::{Message, address::Dialable, conditions, object::ObjectExt as _};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIServiceSpec;
use machinery::tls;
use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde::Deserialize as _;
use serde_json::Value;

use crate::{
    Api,
    forms::value,
    registry::{Registry, Remotes},
    resources::{API_SERVICES, SERVICES},
    streams::{backend::Backend, proxy},
    watch_cache::{Resource, Scope, WatchCache},
};
use told::Told;

/// Where a server behind a service listens.
pub type Place = (Dialable, u16);

/// A group version that another server has.
#[derive(Clone)]
pub struct Remote {
    /// The name of its APIService.
    pub name: String,
    /// The group.
    pub group: String,
    /// The version.
    pub version: String,
    /// Groups of greater priority come first.
    pub group_priority: i32,
    /// And so do versions.
    pub version_priority: i32,
    /// Whether its APIService says that it answers.
    pub available: bool,
    /// What it told of itself.
    pub told: Arc<Told>,
    /// What all but the last two were made from.
    spec: Value,
    namespace: String,
    service: String,
    port: i32,
    tls: Result<Arc<ClientConfig>, Message>,
}

/// Certificate and key that this server shows to others.
pub type Identity = Option<(PathBuf, PathBuf)>;

impl Remote {
    /// What an APIService names; nothing if that is this server. The core group and the group of APIServices are never
    /// another server's.
    fn of(object: &Value, identity: &Identity) -> Option<Self> {
        let spec = object.get("spec")?;
        let read = APIServiceSpec::deserialize(spec).ok()?;
        let (service, group) = (read.service?, read.group.filter(|group| !group.is_empty())?);
        if group == API_SERVICES.group {
            return None;
        }
        let bundle = read.ca_bundle.map_or(Vec::new(), |bundle| bundle.0);
        let tls = match read.insecure_skip_tls_verify {
            Some(true) => Ok(tls::trusting_client_config()),
            _ => tls::bundle_client_config(&bundle),
        };
        let tls = tls.and_then(|config| match identity {
            Some((cert, key)) => tls::identified(&config, cert, key),
            None => Ok(config),
        });
        Some(Self {
            name: object.name().to_owned(),
            group,
            version: read.version.unwrap_or_default(),
            group_priority: read.group_priority_minimum,
            version_priority: read.version_priority,
            available: conditions::holds(object, "Available"),
            told: Arc::default(),
            spec: spec.clone(),
            namespace: service.namespace.unwrap_or_default(),
            service: service.name.unwrap_or_default(),
            port: service.port.unwrap_or(443),
            tls: tls.map_err(Message::of),
        })
    }

    /// What it was made from.
    pub fn spec(&self) -> &Value {
        &self.spec
    }

    /// Where it listens: at its service's pods, or, where that selects none, at the service's own address.
    ///
    /// # Errors
    /// Upstream's reason and message when nobody does.
    pub fn places(&self, api: &Api) -> Result<Vec<Place>, (&'static str, String)> {
        let Self { namespace, service: name, port: number, .. } = self;
        let found = api.cached(SERVICES, &format!("{namespace}/{name}"));
        let Some(service) = found.and_then(|object| value(&object).ok()) else {
            return Err(("ServiceNotFound", format!("service/{name} in {namespace:?} is not present")));
        };
        let ports = service.at(&["spec", "ports"]).and_then(Value::as_array);
        let port = ports.into_iter().flatten().find(|port| port["port"] == *number);
        if port.is_none() && service.str_at(&["spec", "type"]) == "ClusterIP" {
            let why = format!("service/{name} in {namespace:?} is not listening on port {number}");
            return Err(("ServicePortError", why));
        }
        let port = port.map_or("", |port| port.str_at(&["name"]));
        let Ok(Some(mut places)) = proxy::endpoints(api, namespace, name, port) else {
            let why = format!("cannot find endpointslices for service/{name} in {namespace:?}");
            return Err(("EndpointsNotFound", why));
        };
        let selects = service.at(&["spec", "selector"]).is_some_and(Value::is_object);
        if !selects
            && let Ok(own) = Dialable::parse(service.str_at(&["spec", "clusterIP"]))
            && let Ok(number) = u16::try_from(*number)
        {
            places = vec![(own, number)];
        }
        if places.is_empty() {
            let of = format!("endpointslices for service/{name} in {namespace:?}");
            return Err(("MissingEndpoints", format!("{of} have no addresses with port name {port:?}")));
        }
        Ok(places)
    }

    /// The server at one of its places.
    fn at(&self, api: &Api, (host, port): Place) -> Result<Backend, Message> {
        let name = format!("{}.{}.svc", self.service, self.namespace);
        let name = ServerName::try_from(name).map_err(Message::of)?;
        Ok(Backend::new(api, host, port, Some(self.tls.clone()?)).named(name))
    }
}

/// What the table's group versions of other servers were made from.
pub struct Aggregation {
    identity: Identity,
    resource: Option<Arc<Resource>>,
    /// The revision of the last change of an APIService that the table shows.
    shown: AtomicU64,
    made: Mutex<BTreeMap<String, Arc<Remote>>>,
}

impl Aggregation {
    /// Nothing made yet.
    pub fn new(cache: &WatchCache, identity: Identity) -> Self {
        let resource = cache.resource(API_SERVICES.prefix);
        Self { identity, resource, shown: AtomicU64::new(0), made: Mutex::default() }
    }

    /// Brings the table up to the APIServices in the cache.
    pub fn refresh(&self, registry: &Registry) {
        let Some(resource) = &self.resource else { return };
        if resource.changed() == self.shown.load(Ordering::Acquire) {
            return;
        }
        let mut made = self.made.lock();
        // Read before the objects: they are at least this new.
        let changed = resource.changed();
        let mut present = BTreeMap::new();
        for object in resource.snapshot().objects.scan(&Scope::All, None) {
            let Ok(service) = value(object) else { continue };
            let available = conditions::holds(&service, "Available");
            let remote = match made.get(object.name()) {
                Some(known) if service.get("spec") == Some(&known.spec) && known.available == available => {
                    Some(known.clone())
                }
                Some(known) if service.get("spec") == Some(&known.spec) => {
                    Some(Arc::new(Remote { available, ..Remote::clone(known) }))
                }
                _ => Remote::of(&service, &self.identity).map(Arc::new),
            };
            present.extend(remote.map(|remote| (object.name().to_owned(), remote)));
        }
        let is_same = made.len() == present.len()
            && made.values().zip(present.values()).all(|(before, now)| Arc::ptr_eq(before, now));
        if !is_same {
            *made = present;
            registry.set_remotes(by_group(&made));
        }
        self.shown.store(changed, Ordering::Release);
    }

    /// Notes what a server told of itself.
    pub fn learn(&self, registry: &Registry, name: &str, told: Told) {
        let mut made = self.made.lock();
        if let Some(known) = made.get_mut(name).filter(|known| *known.told != told) {
            *known = Arc::new(Remote { told: Arc::new(told), ..Remote::clone(known) });
            registry.set_remotes(by_group(&made));
        }
    }
}

fn by_group(all: &BTreeMap<String, Arc<Remote>>) -> Remotes {
    let mut groups = Remotes::new();
    for remote in all.values() {
        groups.entry(remote.group.clone()).or_default().push(remote.clone());
    }
    groups
}
