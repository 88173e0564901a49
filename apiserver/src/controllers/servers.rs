//! Which API servers there are: each keeps a Lease that names its address, and the endpoints of the `kubernetes`
//! service are the addresses in these Leases. One that is not renewed in its time is removed by whoever sees it.
//!
//! Invariant: who is listed follows from the Leases alone, so that no two servers list different ones; the last one is
//! never taken off the list. Upstream counterparts: `pkg/controlplane/reconcilers/lease.go`, whose records are no
//! objects, and the identity leases of KEP-1965.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use api::{kind::Part, object::ObjectExt as _, status::Status, validation::not_special_ip};
use futures::{FutureExt as _, future::select_all, try_join};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep_until, timeout},
};

use super::cached;
use crate::{
    Api,
    context::Ctx,
    forms::value,
    resources::{BuiltIn, ENDPOINT_SLICES, ENDPOINTS, LEASES},
    store::Revision,
    verbs::{
        create, delete,
        update::{self, Expected},
    },
    watch_cache::{CachedObject, Filter, Scope, WatchFrom, Watcher},
};

/// Where the Leases are.
const NAMESPACE: &str = "kube-system";
/// The label by which they are known.
const IDENTITY: (&str, &str) = ("apiserver.kubernetes.io/identity", "kube-apiserver");
/// The service, in the namespace `default`.
const SERVICE: &str = "kubernetes";
/// The pause after a failure.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// How long a server is listed at most after it was last heard of, whatever its Lease says.
const LASTS_AT_MOST: Duration = Duration::from_secs(60);
/// How long a server that stops tries to say so.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);

/// This server among all that there are.
pub struct Servers {
    /// Where the others and the pods reach it; without that it is not listed.
    own: Option<SocketAddr>,
    /// How long it is listed after it was last heard of.
    lasts: Duration,
    state: Mutex<State>,
}

/// What is remembered between two looks.
#[derive(Default)]
struct State {
    /// When this server's Lease was last renewed.
    renewed: Option<Instant>,
    /// The Leases of others, and since when they are as they are by this machine's clock: other machines have others.
    seen: HashMap<String, (Revision, Instant)>,
}

/// A server's Lease.
#[derive(Debug, Clone, PartialEq)]
struct Held {
    name: String,
    revision: Revision,
    address: SocketAddr,
    lasts: Duration,
}

impl Servers {
    /// A server at this address and port that does not say anything yet.
    pub fn new(advertised: Option<IpAddr>, port: u16, lasts: Duration) -> Self {
        let own = match advertised.map(publishable) {
            Some(Ok(address)) => Some(SocketAddr::new(address, port)),
            // The server serves all the same.
            Some(Err(reason)) => {
                tracing::warn!(reason, "cannot publish this server as an endpoint");
                None
            }
            None => None,
        };
        Self { own, lasts: lasts.min(LASTS_AT_MOST), state: Mutex::default() }
    }

    /// How often the Lease is renewed.
    fn every(&self) -> Duration {
        self.lasts * 2 / 3
    }
}

/// The address, unless no endpoint may have it, such as a loopback address: why not, then.
fn publishable(address: IpAddr) -> Result<IpAddr, String> {
    let wrong = not_special_ip(&address.to_string());
    if wrong.is_empty() { Ok(address) } else { Err(format!("{address}: {}", wrong.join(", "))) }
}

/// What the Lease of a server at an address is called.
fn lease_name(address: SocketAddr) -> String {
    let digest = Sha256::digest(address.to_string());
    let hash: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("apiserver-{hash}")
}

impl State {
    /// Which of the others' Leases have run out, and when the next one will. Whoever could not renew its own in time
    /// does not judge those of others by what it missed.
    fn judge<'a>(
        &mut self,
        others: &[&'a Held],
        was_away: bool,
        now: Instant,
    ) -> (Vec<&'a Held>, Option<Instant>) {
        if was_away {
            self.seen.clear();
        }
        self.seen.retain(|name, _| others.iter().any(|lease| lease.name == *name));
        let (mut gone, mut next) = (Vec::new(), None);
        for lease in others {
            let (revision, since) = self.seen.entry(lease.name.clone()).or_insert((lease.revision, now));
            if *revision != lease.revision {
                (*revision, *since) = (lease.revision, now);
            }
            let end = *since + lease.lasts;
            if end <= now {
                gone.push(*lease);
            } else {
                next = Some(next.map_or(end, |next: Instant| next.min(end)));
            }
        }
        (gone, next)
    }
}

/// The addresses of these Leases that are listed together: an EndpointSlice has one family of addresses and one port.
fn listed<'a>(leases: impl Iterator<Item = &'a Held>) -> Vec<SocketAddr> {
    let mut addresses: Vec<SocketAddr> = leases.map(|lease| lease.address).collect();
    addresses.sort_unstable();
    addresses.dedup();
    if let Some(first) = addresses.first().copied() {
        addresses.retain(|a| a.port() == first.port() && a.is_ipv4() == first.is_ipv4());
    }
    addresses
}

/// Reads a Lease of a server; `None` for what no server can have written, whoever labelled it.
fn held(name: &str, revision: Revision, lease: &Value) -> Option<Held> {
    let address: SocketAddr = lease.str_at(&["spec", "holderIdentity"]).parse().ok()?;
    // Without an IPv6 zone, which endpoints have not either.
    let address = SocketAddr::new(publishable(address.ip()).ok()?, address.port());
    if name != lease_name(address) || address.port() == 0 {
        return None;
    }
    let seconds = lease.at(&["spec", "leaseDurationSeconds"]).and_then(Value::as_u64)?;
    let lasts = Duration::from_secs(seconds).min(LASTS_AT_MOST);
    Some(Held { name: name.to_owned(), revision, address, lasts })
}

fn is_of_a_server(object: &CachedObject) -> bool {
    object.label(IDENTITY.0) == Some(IDENTITY.1)
}

/// The Leases of all servers, as the cache has them.
fn leases(api: &Api) -> Vec<Held> {
    let (objects, scope) = (api.objects(LEASES), Scope::Namespace(NAMESPACE.into()));
    let read = |object: &Arc<CachedObject>| held(object.name(), object.revision(), &value(object).ok()?);
    objects.scan(&scope, None).filter(|object| is_of_a_server(object)).filter_map(read).collect()
}

/// Keeps this server's Lease and the list, for ever.
///
/// # Errors
/// When one of the kinds is not served.
pub async fn run(api: Arc<Api>) -> anyhow::Result<()> {
    loop {
        // They begin before the look, so that nothing that changes during it is missed.
        let mut watchers = watch(&api)?;
        let again = match look(&api).await {
            Ok(again) => again,
            Err(error) => {
                tracing::warn!(%error, "cannot bring the list of API servers in order yet");
                Some(Instant::now() + TRY_AGAIN)
            }
        };
        // Whatever a watch tells, also that it ended: look again.
        let changed = select_all(watchers.iter_mut().map(|watcher| watcher.next(1).boxed()));
        let due = async {
            match again {
                Some(again) => sleep_until(again).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _told = changed => {}
            () = due => {}
        }
    }
}

/// Follows what others may change: the Leases of servers, and the list itself.
fn watch(api: &Arc<Api>) -> anyhow::Result<Vec<Watcher>> {
    let servers: Filter = Arc::new(is_of_a_server);
    let own = |namespace: &str| Scope::Object(format!("{namespace}/{SERVICE}"));
    let all = [
        (LEASES, Scope::Namespace(NAMESPACE.into()), Some(servers)),
        (ENDPOINTS, own("default"), None),
        (ENDPOINT_SLICES, own("default"), None),
    ];
    all.into_iter()
        .map(|(resource, scope, filter)| {
            let resource = cached(&api.cache, resource)?;
            Ok(resource.watch(WatchFrom::Now, scope, filter)?)
        })
        .collect()
}

/// Renews this server's Lease when that is due, removes what has run out, and lists who is there. Answers when to look
/// again though nothing changes.
///
/// # Errors
/// When the store does not answer.
pub async fn look(api: &Arc<Api>) -> Result<Option<Instant>, Status> {
    let servers = &api.servers;
    let Some(own) = servers.own else { return Ok(None) };
    let name = lease_name(own);
    let mut state = servers.state.lock().await;
    if api.shutting_down() {
        return Ok(None);
    }
    let now = Instant::now();
    let is_there = leases(api).iter().any(|lease| lease.name == name);
    let age = state.renewed.map(|renewed| now - renewed);
    let mut renewed = state.renewed.filter(|_| is_there && age < Some(servers.every()));
    if renewed.is_none() {
        renew(api, own, &name).await?;
        renewed = Some(now);
        state.renewed = renewed;
    }
    let all = leases(api);
    let others: Vec<&Held> = all.iter().filter(|lease| lease.name != name).collect();
    let was_away = age.is_none_or(|age| age > servers.lasts);
    let (gone, next) = state.judge(&others, was_away, Instant::now());
    for lease in &gone {
        tracing::info!(address = %lease.address, "an API server is not heard of any more");
        remove(api, &lease.name, Some(lease.revision)).await?;
    }
    publish(api, &listed(all.iter().filter(|lease| !gone.contains(lease)))).await?;
    Ok(renewed.map(|renewed| renewed + servers.every()).into_iter().chain(next).min())
}

/// Takes this server off the list, which it was on. The last one stays on it: it will be back, and an empty list helps
/// nobody.
pub async fn leave(api: &Arc<Api>) {
    let Some(own) = api.servers.own else { return };
    let leaving = async {
        if api.servers.state.lock().await.renewed.take().is_none() {
            return Ok(());
        }
        let name = lease_name(own);
        remove(api, &name, None).await?;
        let left = listed(leases(api).iter().filter(|lease| lease.name != name));
        if left.is_empty() { Ok(()) } else { publish(api, &left).await }
    };
    match timeout(LEAVE_WITHIN, leaving).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "cannot take this server off the list of endpoints"),
        Err(_late) => tracing::warn!("cannot take this server off the list of endpoints in time"),
    }
}

async fn renew(api: &Arc<Api>, own: SocketAddr, name: &str) -> Result<(), Status> {
    let ctx = Ctx::internal(api, LEASES, Some(NAMESPACE), Some(name))?;
    let now = json!(MicroTime(Timestamp::now()));
    let spec = json!({
        "holderIdentity": own.to_string(),
        "leaseDurationSeconds": api.servers.lasts.as_secs().max(1),
        "renewTime": now,
    });
    let put = |lease: &mut Value| {
        for (field, value) in spec.as_object().into_iter().flatten() {
            lease["spec"][field] = value.clone();
        }
    };
    match update::edit(&ctx, Part::Main, Expected::default(), put).await {
        Err(status) if status.code == 404 => {
            let lease = json!({
                "metadata": {"name": name, "namespace": NAMESPACE, "labels": {IDENTITY.0: IDENTITY.1}},
                "spec": spec,
            });
            create::ensure(api, LEASES, lease).await?;
        }
        written => {
            written?;
        }
    }
    // What is seen from here on is no older than this.
    api.cache.fresh().await?;
    Ok(())
}

/// Removes a Lease; at that revision alone, if one is given.
async fn remove(api: &Arc<Api>, name: &str, revision: Option<Revision>) -> Result<(), Status> {
    let ctx = Ctx::internal(api, LEASES, Some(NAMESPACE), Some(name))?;
    let preconditions =
        delete::Preconditions { resource_version: revision.map(|r| r.to_string()), uid: None };
    let options = delete::DeleteOptions { preconditions: Some(preconditions), ..Default::default() };
    match delete::delete_object(&ctx, name, &options).await {
        // It is gone already, or was renewed after all.
        Err(status) if !matches!(status.code, 404 | 409) => Err(status),
        _ => Ok(()),
    }
}

/// Makes these addresses the endpoints of the service.
async fn publish(api: &Arc<Api>, addresses: &[SocketAddr]) -> Result<(), Status> {
    let Some(first) = addresses.first() else { return Ok(()) };
    let ports = json!([{"name": "https", "port": first.port(), "protocol": "TCP"}]);
    let metadata = |labels: Value| json!({"name": SERVICE, "namespace": "default", "labels": labels});
    let ips = || addresses.iter().map(SocketAddr::ip);
    let endpoints = json!({
        "metadata": metadata(json!({"endpointslice.kubernetes.io/skip-mirror": "true"})),
        "subsets": [{"addresses": ips().map(|ip| json!({"ip": ip})).collect::<Vec<_>>(), "ports": ports}],
    });
    let endpoint = |ip: IpAddr| json!({"addresses": [ip], "conditions": {"ready": true}});
    let slice = json!({
        "metadata": metadata(json!({"kubernetes.io/service-name": SERVICE})),
        "addressType": if first.is_ipv4() { "IPv4" } else { "IPv6" },
        "endpoints": ips().map(endpoint).collect::<Vec<_>>(),
        "ports": ports,
    });
    try_join!(put(api, ENDPOINTS, endpoints), put(api, ENDPOINT_SLICES, slice)).map(|_| ())
}

/// Creates an object of the `default` namespace, or brings its content up to date.
async fn put(api: &Arc<Api>, resource: BuiltIn, object: Value) -> Result<(), Status> {
    let ctx = Ctx::internal(api, resource, Some("default"), Some(SERVICE))?;
    let wanted = ctx.kind.rules.default(object.clone()).map_err(Status::internal)?;
    let content = || wanted.as_object().into_iter().flatten().filter(|(field, _)| *field != "metadata");
    if let Some(present) = ctx.resource.get(&ctx.cache_key(SERVICE)) {
        let present = ctx.value(&present)?;
        if content().all(|(field, value)| present.get(field) == Some(value)) {
            return Ok(());
        }
    }
    let change = |object: &mut Value| content().for_each(|(field, value)| object[field] = value.clone());
    match update::edit(&ctx, Part::Main, Expected::default(), change).await {
        Err(status) if status.code == 404 => create::ensure(api, resource, object).await,
        written => written.map(|_| ()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LASTS: Duration = Duration::from_secs(15);

    fn lease(address: &str, revision: Revision) -> Held {
        let address = address.parse().expect("is an address");
        Held { name: lease_name(address), revision, address, lasts: LASTS }
    }

    #[test]
    fn only_addresses_that_endpoints_may_have_are_published() {
        let published = |address: &str| publishable(address.parse().expect("is an address"));
        for address in ["192.168.1.1", "10.0.0.1", "fd00::1"] {
            assert_eq!(published(address).ok(), address.parse().ok());
        }
        for address in ["127.0.0.1", "::1", "169.254.1.1", "fe80::1", "0.0.0.0"] {
            assert!(published(address).is_err_and(|why| why.starts_with(address)), "{address}");
        }
    }

    #[test]
    fn a_lease_is_that_of_a_server_if_its_name_and_address_are() {
        let name = |address: &str| lease_name(address.parse().expect("is an address"));
        let of_its_own = |address: &str, seconds: i64| {
            let spec = json!({"holderIdentity": address, "leaseDurationSeconds": seconds});
            held(&name(address), 7, &json!({"spec": spec}))
        };
        assert_eq!(of_its_own("10.0.0.1:6443", 15), Some(lease("10.0.0.1:6443", 7)));
        assert_eq!(of_its_own("[fd00::1]:6443", 15), Some(lease("[fd00::1]:6443", 7)));
        assert_eq!(of_its_own("10.0.0.1:6443", 2_147_483_647).map(|held| held.lasts), Some(LASTS_AT_MOST));
        assert_eq!(of_its_own("10.0.0.1:6443", -1), None);
        for address in ["127.0.0.1:1", "169.254.1.1:6443", "0.0.0.0:6443", "10.0.0.1:0", "[fd00::1%7]:6443"] {
            assert_eq!(of_its_own(address, 15), None, "{address}");
        }
        let spec = json!({"holderIdentity": "1.1.1.1:1", "leaseDurationSeconds": 15});
        assert_eq!(held("mine", 7, &json!({"spec": spec})), None);
        assert_eq!(held(&name("1.1.1.1:1"), 7, &json!({"spec": {"holderIdentity": "me"}})), None);
    }

    #[test]
    fn a_lease_runs_out_when_it_has_not_changed_for_as_long_as_it_lasts() {
        let mut state = State::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let (a, b) = (lease("10.0.0.1:6443", 5), lease("10.0.0.2:6443", 6));
        assert_eq!(state.judge(&[&a, &b], true, at(0)), (vec![], Some(at(15))));
        let a = Held { revision: 9, ..a };
        assert_eq!(state.judge(&[&a, &b], false, at(10)), (vec![], Some(at(15))));
        assert_eq!(state.judge(&[&a, &b], false, at(15)), (vec![&b], Some(at(25))));
        // It came back meanwhile.
        let b = Held { revision: 12, ..b };
        assert_eq!(state.judge(&[&a, &b], false, at(16)), (vec![], Some(at(25))));
        // Who was away has not seen whether they were renewed.
        assert_eq!(state.judge(&[&a, &b], true, at(90)), (vec![], Some(at(105))));
        assert_eq!(state.judge(&[], false, at(91)), (vec![], None));
        assert!(state.seen.is_empty());
    }

    #[test]
    fn servers_are_listed_in_order_and_with_one_port() {
        let leases = ["10.0.0.10:6443", "10.0.0.9:6443", "10.0.0.9:7443", "[fd00::1]:6443", "10.0.0.9:6443"];
        let leases = leases.map(|address| lease(address, 1));
        let expected = ["10.0.0.9:6443", "10.0.0.10:6443"].map(|a| a.parse().expect("is an address"));
        assert_eq!(listed(leases.iter()), expected);
        assert_eq!(listed([].iter()), []);
        assert_ne!(lease_name(expected[0]), lease_name(expected[1]));
    }
}
