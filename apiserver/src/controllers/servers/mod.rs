//! Which API servers there are: each keeps a Lease that names its address, and the endpoints of the `kubernetes`
//! service are the addresses in these Leases. One that is not renewed in its time is removed by whoever sees it.
//!
//! Invariant: who is listed follows from the Leases alone, so that no two servers list different ones; the last one is
//! never taken off the list. Upstream counterparts: `pkg/controlplane/reconcilers/lease.go`, whose records are no
//! objects, and the identity leases of KEP-1965.

mod plan;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use api::{object::ObjectExt as _, status::Status};
use futures::try_join;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kinds::kind::Part;
use plan::{Held, Memory, Own, Plan, held, listed, publishable};
use serde_json::{Value, json};
use tokio::{sync::Mutex, time::timeout};

use super::{Followed, Left, follow};
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
    watch_cache::{CachedObject, Scope},
};

/// Where the Leases are.
const NAMESPACE: &str = "kube-system";
/// The label by which they are known.
const IDENTITY: (&str, &str) = ("apiserver.kubernetes.io/identity", "kube-apiserver");
/// The service, in the namespace `default`.
const SERVICE: &str = "kubernetes";
/// The pause after a failure.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// How long a server that stops tries to say so.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);

/// This server among all that there are.
pub struct Servers {
    /// Where the others and the pods reach it; without that it is not listed.
    own: Option<Own>,
    /// Held as long as a look takes: a server that leaves does so after the last one, which would list it again.
    memory: Mutex<Memory>,
}

impl Servers {
    /// A server at this address and port that does not say anything yet.
    pub fn new(advertised: Option<IpAddr>, port: u16, lasts: Duration) -> Self {
        let own = match advertised.map(publishable) {
            Some(Ok(address)) => Some(Own::new(SocketAddr::new(address, port), lasts)),
            // The server serves all the same.
            Some(Err(reason)) => {
                tracing::warn!(%reason, "cannot publish this server as an endpoint");
                None
            }
            None => None,
        };
        Self { own, memory: Mutex::default() }
    }
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

/// Keeps this server's Lease and the list, for ever, and follows what others may change: the Leases of servers, and the list
/// itself.
///
/// # Errors
/// When one of the kinds is not served.
pub async fn run(api: Arc<Api>) -> anyhow::Result<()> {
    let list =
        |resource| Followed { resource, scope: Scope::Object(format!("default/{SERVICE}")), filter: None };
    let servers = Followed {
        resource: LEASES,
        scope: Scope::Namespace(NAMESPACE.into()),
        filter: Some(Arc::new(is_of_a_server)),
    };
    let followed = [servers, list(ENDPOINTS), list(ENDPOINT_SLICES)];
    follow(api.cache.clone(), followed, (api, keep)).await
}

async fn keep(api: Arc<Api>) -> Result<Left, Status> {
    let again = look(&api).await.unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot bring the list of API servers in order yet");
        Some(Instant::now() + TRY_AGAIN)
    });
    let left = |again: Instant| Left::Later(again.saturating_duration_since(Instant::now()));
    Ok(again.map_or(Left::Nothing, left))
}

/// Renews this server's Lease when that is due, removes what has run out, and lists who is there. Answers when to look
/// again though nothing changes.
///
/// # Errors
/// When the store does not answer.
pub async fn look(api: &Arc<Api>) -> Result<Option<Instant>, Status> {
    let Some(own) = &api.servers.own else { return Ok(None) };
    let mut memory = api.servers.memory.lock().await;
    if api.shutting_down() {
        return Ok(None);
    }
    let now = Instant::now();
    let due = memory.is_due(own, &leases(api), now);
    if due {
        renew(api, own).await?;
    }
    let mut plan = planned(api, own, &mut memory);
    if due || !plan.remove.is_empty() {
        // A cache that lags may not show yet that they were renewed.
        api.cache.fresh().await?;
        plan = planned(api, own, &mut memory);
    }
    if due {
        // Not before: how long this server was away counts in the plan.
        memory.renewed = Some(now);
    }
    let next = plan.next;
    act(api, plan).await?;
    Ok(memory.renewed.map(|renewed| renewed + own.every()).into_iter().chain(next).min())
}

/// What follows from the Leases as the cache has them now.
fn planned(api: &Api, own: &Own, memory: &mut Memory) -> Plan {
    let (leases, now) = (leases(api), Instant::now());
    memory.observe(own, &leases, now);
    memory.plan(own, &leases, now)
}

async fn act(api: &Arc<Api>, plan: Plan) -> Result<(), Status> {
    let mut stay = plan.stay;
    for lease in plan.remove {
        if remove(api, (LEASES, NAMESPACE, &lease.name), Some(lease.revision)).await? {
            tracing::info!(address = %lease.address, "an API server is not heard of any more");
        } else {
            stay.push(lease.address);
        }
    }
    publish(api, &listed(stay)).await
}

/// Takes this server off the list, which it was on. The last one stays on it: it will be back, and an empty list helps
/// nobody.
pub async fn leave(api: &Arc<Api>) {
    let Some(own) = &api.servers.own else { return };
    let leaving = async {
        if api.servers.memory.lock().await.renewed.take().is_none() {
            return Ok(());
        }
        remove(api, (LEASES, NAMESPACE, &own.name), None).await?;
        let others = leases(api).into_iter().filter(|lease| lease.name != own.name);
        publish(api, &listed(others.map(|lease| lease.address))).await
    };
    match timeout(LEAVE_WITHIN, leaving).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "cannot take this server off the list of endpoints"),
        Err(_late) => tracing::warn!("cannot take this server off the list of endpoints in time"),
    }
}

async fn renew(api: &Arc<Api>, own: &Own) -> Result<(), Status> {
    let lease = json!({
        "metadata": {"name": own.name, "namespace": NAMESPACE, "labels": {IDENTITY.0: IDENTITY.1}},
        "spec": {
            "holderIdentity": own.address.to_string(),
            "leaseDurationSeconds": own.lasts.as_secs().max(1),
            "renewTime": MicroTime(machinery::clock::now()),
        },
    });
    put(api, LEASES, lease).await
}

/// Removes an object of a resource, namespace and name; at that revision alone, if one is given: whether it is gone.
async fn remove(
    api: &Arc<Api>,
    (resource, namespace, name): (BuiltIn, &str, &str),
    revision: Option<Revision>,
) -> Result<bool, Status> {
    let ctx = Ctx::internal(api, resource, Some(namespace), Some(name))?;
    let preconditions =
        delete::Preconditions { resource_version: revision.map(|r| r.to_string()), uid: None };
    let options = delete::DeleteOptions { preconditions: Some(preconditions), ..Default::default() };
    match delete::delete_object(&ctx, name, &options, true).await {
        // Somebody was faster, or has changed it after all.
        Err(status) if status.code == 404 => Ok(true),
        Err(status) if status.code == 409 => Ok(false),
        deleted => deleted.map(|_| true),
    }
}

/// Makes these addresses the endpoints of the service, if there are any.
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

/// Creates an object, or gives the present one these labels and this content.
async fn put(api: &Arc<Api>, resource: BuiltIn, object: Value) -> Result<(), Status> {
    let (namespace, name) = (object.namespace(), object.name());
    let ctx = Ctx::internal(api, resource, Some(namespace), Some(name))?;
    let wanted = ctx.kind.rules.default(object.clone()).map_err(Status::internal)?;
    if let Some(cached) = ctx.resource.get(&ctx.cache_key(name)) {
        let present = ctx.value(&cached)?;
        let mut brought = present.clone();
        bring(&mut brought, &wanted);
        if brought == present {
            return Ok(());
        }
        // A slice keeps its family of addresses as long as it lives.
        if present.get("addressType") != wanted.get("addressType") {
            remove(api, (resource, namespace, name), Some(cached.revision())).await?;
            api.cache.fresh().await?;
        }
    }
    let change = |object: &mut Value| bring(object, &wanted);
    match update::edit(&ctx, Part::Main, Expected::default(), change).await {
        Err(status) if status.code == 404 => create::ensure(api, resource, object).await,
        written => written.map(|_| ()),
    }
}

/// Gives an object the labels and the content of another; it keeps what else it has.
fn bring(object: &mut Value, wanted: &Value) {
    for (field, value) in wanted.as_object().into_iter().flatten() {
        match field.as_str() {
            "metadata" => {
                for (label, value) in value["labels"].as_object().into_iter().flatten() {
                    object["metadata"]["labels"][label] = value.clone();
                }
            }
            _ => object[field] = value.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
