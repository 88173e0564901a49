//! Kubelets write only themselves: their node, its lease, and the pods that are bound to it. Counterpart of upstream's
//! `plugin/pkg/admission/noderestriction`.
//!
//! Beyond it, a node neither gives itself a range of pods nor an address that leads to another node or an API server.

use std::collections::BTreeSet;

use api::{address::canonical, object::ObjectExt as _, status::Status};
use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use x509_parser::{certification_request::X509CertificationRequest, prelude::FromDer as _};

use super::{Operation, Step, Verb};
use crate::{
    auth::authorize::{Action, node_identity},
    context::Ctx,
    forms::value,
    resources::{
        BuiltIn, CERTIFICATE_SIGNING_REQUESTS, CSI_NODES, ENDPOINTS, LEASES, NODES, PERSISTENT_VOLUME_CLAIMS,
        PODS, RESOURCE_SLICES, SERVICE_ACCOUNTS,
    },
    watch_cache::Scope,
};

const MIRROR: &str = "kubernetes.io/config.mirror";

/// What kubelets may label their nodes with, of what is Kubernetes' own.
const KUBELET_LABELS: &[&str] = &[
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];

/// The step.
pub struct NodeRestriction;

#[async_trait]
impl Step for NodeRestriction {
    fn handles(&self, operation: &Operation<'_>) -> bool {
        operation.verb != Verb::Connect && node_identity(&operation.ctx.user).is_some()
    }

    async fn mutate(&self, operation: &mut Operation<'_>) -> Result<(), Status> {
        let Some(node) = node_identity(&operation.ctx.user) else { return Ok(()) };
        admit(operation, node)
    }
}

fn admit(operation: &Operation<'_>, node: &str) -> Result<(), Status> {
    let kind = &operation.ctx.kind;
    let refused = match operation.subresource() {
        _ if node.is_empty() => {
            Some(format!("could not determine node from user {:?}", operation.ctx.user.name))
        }
        None if PODS.is(kind) => return pod(operation, node),
        Some("status") if PODS.is(kind) => pod_status(operation, node),
        Some("eviction") if PODS.is(kind) => {
            let pod = find(operation, PODS, operation.object_name())?;
            (pod.str_at(&["spec", "nodeName"]) != node)
                .then(|| format!("node {node} can only evict pods with spec.nodeName set to itself"))
        }
        Some(other) if PODS.is(kind) => {
            Some(format!("unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed"))
        }
        _ if NODES.is(kind) => node_itself(operation, node)?,
        Some("status") if PERSISTENT_VOLUME_CLAIMS.is(kind) => claim_status(operation, node),
        _ if PERSISTENT_VOLUME_CLAIMS.is(kind) => Some("may only update PVC status".to_owned()),
        Some("token") if SERVICE_ACCOUNTS.is(kind) => token(operation, node)?,
        _ if LEASES.is(kind) => lease(operation, node),
        _ if CSI_NODES.is(kind) => (operation.object_name() != node)
            .then(|| "can only access CSINode with the same name as the requesting node".to_owned()),
        _ if RESOURCE_SLICES.is(kind) => slice(operation, node),
        None if CERTIFICATE_SIGNING_REQUESTS.is(kind) => signing_request(operation, node),
        _ => None,
    };
    refused.map_or(Ok(()), |why| Err(operation.forbidden(why)))
}

/// An object of the operation's namespace that the cache has.
fn find(operation: &Operation<'_>, resource: BuiltIn, name: &str) -> Result<Value, Status> {
    let key = match operation.namespace() {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    };
    let found = operation.ctx.api.cached(resource, &key);
    value(&*found.ok_or_else(|| Status::not_found(resource.plural, resource.group, name))?)
}

fn pod(operation: &Operation<'_>, node: &str) -> Result<(), Status> {
    let new = operation.new.as_deref();
    let refused = match (operation.verb, new, operation.old) {
        (Verb::Create, Some(new), _) => mirror_pod(operation.ctx, new, node)?,
        (Verb::Delete, _, Some(old)) => (old.str_at(&["spec", "nodeName"]) != node)
            .then(|| format!("node {node:?} can only delete pods with spec.nodeName set to itself")),
        (verb, ..) => Some(format!(
            "unexpected operation {:?}, node {node:?} can only create and delete mirror pods",
            verb.as_str()
        )),
    };
    refused.map_or(Ok(()), |why| Err(operation.forbidden(why)))
}

/// Why a pod that a node creates is none that it may create.
fn mirror_pod(ctx: &Ctx, pod: &Value, node: &str) -> Result<Option<String>, Status> {
    let only = |what: &str| Ok(Some(format!("node {node:?} can only create pods with {what}")));
    if pod.at(&["metadata", "annotations", MIRROR]).is_none() {
        return Ok(Some(format!(
            "pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"
        )));
    }
    if pod.str_at(&["spec", "nodeName"]) != node {
        return only("spec.nodeName set to itself");
    }
    let owner = match pod.list_at(&["metadata", "ownerReferences"]) {
        [] => return only("an owner reference set to itself"),
        [owner] => owner,
        _ => return only("a single owner reference set to itself"),
    };
    let part = |field| owner.str_at(&[field]);
    if (part("apiVersion"), part("kind"), part("name")) != ("v1", "Node", node) {
        return only("an owner reference set to itself");
    }
    if owner["controller"] != true {
        return only("a controller owner reference set to itself");
    }
    if owner["blockOwnerDeletion"] == true {
        return Ok(Some(format!("node {node:?} must not set blockOwnerDeletion on an owner reference")));
    }
    let found = ctx.api.cached(NODES, node).ok_or_else(|| Status::not_found("nodes", "", node))?;
    let found = value(&found)?;
    if part("uid") != found.uid() {
        let (expected, got) = (part("uid"), found.uid());
        return Ok(Some(format!("node {node} UID mismatch: expected {expected} got {got}")));
    }
    let what = api::pod::references::named_object(pod);
    Ok(what.map(|what| format!("node {node:?} can not create pods that reference {what}")))
}

fn pod_status(operation: &Operation<'_>, node: &str) -> Option<String> {
    let (Verb::Update, Some(new), Some(old)) = (operation.verb, operation.new.as_deref(), operation.old)
    else {
        return Some(format!("unexpected operation {:?}", operation.verb.as_str()));
    };
    if old.str_at(&["spec", "nodeName"]) != node {
        return Some(format!(
            "node {node:?} can only update pod status for pods with spec.nodeName set to itself"
        ));
    }
    if labels(old) != labels(new) {
        return Some(format!("node {node:?} cannot update labels through pod status"));
    }
    let differs = |field: &str| old.at(&["status", field]) != new.at(&["status", field]);
    if differs("resourceClaimStatuses") {
        return Some(format!("node {node:?} cannot update resource claim statues"));
    }
    differs("extendedResourceClaimStatus")
        .then(|| format!("node {node:?} cannot update extended resource claim status"))
}

fn labels(object: &Value) -> Map<String, Value> {
    object.at(&["metadata", "labels"]).and_then(Value::as_object).cloned().unwrap_or_default()
}

fn node_itself(operation: &Operation<'_>, node: &str) -> Result<Option<String>, Status> {
    let requested = operation.object_name();
    if requested != node {
        return Ok(Some(format!("node {node:?} is not allowed to modify node {requested:?}")));
    }
    let Some(new) = operation.new.as_deref() else { return Ok(None) };
    let none = Value::Null;
    let old = operation.old.unwrap_or(&none);
    let is_new = operation.old.is_none();
    let differs = |path: &[&str]| {
        let part = |object: &Value| object.at(path).filter(|part| **part != json!([])).cloned();
        part(old) != part(new)
    };
    let forbidden = forbidden_labels(&labels(new), &labels(old));
    let refused = match () {
        () if is_new && new.at(&["spec", "configSource"]).is_some() => {
            Some(format!("node {node:?} is not allowed to create pods with a non-nil configSource"))
        }
        () if !is_new
            && new.at(&["spec", "configSource"]).is_some()
            && differs(&["spec", "configSource"]) =>
        {
            Some(format!("node {node:?} is not allowed to update configSource to a new non-nil configSource"))
        }
        () if !is_new && differs(&["spec", "taints"]) => {
            Some(format!("node {node:?} is not allowed to modify taints"))
        }
        () if !is_new && differs(&["metadata", "ownerReferences"]) => {
            Some(format!("node {node:?} is not allowed to modify ownerReferences"))
        }
        () if is_new && !forbidden.is_empty() => {
            Some(format!("node {node:?} is not allowed to set the following labels: {forbidden}"))
        }
        () if !forbidden.is_empty() => Some(format!("is not allowed to modify labels: {forbidden}")),
        () if differs(&["spec", "podCIDR"]) || differs(&["spec", "podCIDRs"]) => {
            Some(format!("node {node:?} is not allowed to choose its range of pod addresses"))
        }
        () if differs(&["status", "addresses"]) || differs(&["status", "daemonEndpoints"]) => {
            taken_address(operation.ctx, node, new)?
        }
        () => None,
    };
    Ok(refused)
}

/// The labels that a node may neither add, change nor take away, of those that differ.
fn forbidden_labels(new: &Map<String, Value>, old: &Map<String, Value>) -> String {
    let keys: BTreeSet<&String> = new.keys().chain(old.keys()).collect();
    let is_in = |place: &str, domain: &str| {
        place == domain || place.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
    };
    let is_forbidden = |key: &str| {
        let place = key.split_once('/').map_or("", |(place, _)| place);
        let is_kubelets = || {
            KUBELET_LABELS.contains(&key)
                || ["kubelet.kubernetes.io", "node.kubernetes.io"].iter().any(|domain| is_in(place, domain))
        };
        is_in(place, "node-restriction.kubernetes.io")
            || (["kubernetes.io", "k8s.io"].iter().any(|domain| is_in(place, domain)) && !is_kubelets())
    };
    let differing = keys.into_iter().filter(|key| new.get(*key) != old.get(*key) && is_forbidden(key));
    differing.cloned().collect::<Vec<_>>().join(", ")
}

/// Whose address a node takes for its own, if it is that of another one or of an API server.
fn taken_address(ctx: &Ctx, node: &str, new: &Value) -> Result<Option<String>, Status> {
    let addresses = |node: &Value| -> BTreeSet<String> {
        let all = node.list_at(&["status", "addresses"]).iter();
        let inside = all.filter(|address| matches!(address.str_at(&["type"]), "InternalIP" | "ExternalIP"));
        inside.map(|address| comparable(address.str_at(&["address"]))).collect()
    };
    let own = addresses(new);
    for other in ctx.api.objects(NODES).scan(&Scope::All, None).filter(|other| other.name() != node) {
        if let Some(taken) = addresses(&value(other)?).intersection(&own).next() {
            let whose = other.name();
            return Ok(Some(format!(
                "node {node:?} is not allowed to have the address {taken} of node {whose:?}"
            )));
        }
    }
    let Some(servers) = ctx.api.cached(ENDPOINTS, "default/kubernetes") else { return Ok(None) };
    let servers = value(&servers)?;
    let port = kubelet_port(new);
    // A kubelet may run beside an API server, and is reached at another port.
    let is_server = servers.list_at(&["subsets"]).iter().any(|subset| {
        let has = |list: &str, is: &dyn Fn(&Value) -> bool| subset.list_at(&[list]).iter().any(is);
        has("addresses", &|address| own.contains(&comparable(address.str_at(&["ip"]))))
            && has("ports", &|listed| listed["port"] == port)
    });
    Ok(is_server.then(|| format!("node {node:?} is not allowed to be reached where an API server is")))
}

/// Where a node's kubelet is reached.
fn kubelet_port(node: &Value) -> u16 {
    let said = node.at(&["status", "daemonEndpoints", "kubeletEndpoint", "Port"]).and_then(Value::as_u64);
    said.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0).unwrap_or(10250)
}

/// An address as it is dialled, however it is written.
fn comparable(address: &str) -> String {
    address.parse().map_or_else(|_| address.to_owned(), |ip| canonical(ip).to_string())
}

fn claim_status(operation: &Operation<'_>, node: &str) -> Option<String> {
    let (Verb::Update, Some(new), Some(old)) = (operation.verb, operation.new.as_deref(), operation.old)
    else {
        return Some(format!("unexpected operation {:?}", operation.verb.as_str()));
    };
    let rest = |claim: &Value| {
        let mut rest = claim.clone();
        for field in ["resourceVersion", "managedFields"] {
            rest.metadata_mut().remove(field);
        }
        if let Some(status) = rest.get_mut("status").and_then(Value::as_object_mut) {
            for field in ["capacity", "conditions", "allocatedResourceStatuses", "allocatedResources"] {
                status.remove(field);
            }
        }
        rest
    };
    (rest(old) != rest(new)).then(|| {
        format!(
            "node {node:?} is not allowed to update fields other than status.quantity and status.conditions"
        )
    })
}

fn token(operation: &Operation<'_>, node: &str) -> Result<Option<String>, Status> {
    let Some(request) = operation.new.as_deref() else { return Ok(None) };
    let bound = |field| request.str_at(&["spec", "boundObjectRef", field]);
    if (bound("apiVersion"), bound("kind")) != ("v1", "Pod") || bound("name").is_empty() {
        return Ok(Some("node requested token not bound to a pod".into()));
    }
    if bound("uid").is_empty() {
        return Ok(Some("node requested token with a pod binding without a uid".into()));
    }
    let pod = find(operation, PODS, bound("name"))?;
    if bound("uid") != pod.uid() {
        return Ok(Some(format!(
            "the UID in the bound object reference ({}) does not match the UID in record. The object might have been deleted and then recreated",
            bound("uid")
        )));
    }
    if pod.str_at(&["spec", "nodeName"]) != node {
        return Ok(Some("node requested token bound to a pod scheduled on a different node".into()));
    }
    let audience = match request.list_at(&["spec", "audiences"]) {
        [] => "",
        [one] => one.as_str().unwrap_or(""),
        _ => return Ok(Some("node may only request 0 or 1 audiences".into())),
    };
    let own = operation
        .ctx
        .api
        .auth
        .issuer()
        .is_some_and(|issuer| issuer.audiences().iter().any(|a| a == audience));
    let mut sources =
        pod.list_at(&["spec", "volumes"]).iter().flat_map(|v| v.list_at(&["projected", "sources"]));
    let is_named = sources.any(|source| {
        let wanted = source.str_at(&["serviceAccountToken", "audience"]);
        source.get("serviceAccountToken").is_some() && (wanted == audience || (own && wanted.is_empty()))
    });
    let user = &operation.ctx.user;
    let action = Action::Resource {
        verb: "request-serviceaccounts-token-audience",
        group: "",
        resource: audience,
        subresource: "",
        namespace: operation.namespace().unwrap_or(""),
        name: operation.name,
        fields: None,
    };
    let may = is_named || operation.ctx.api.authorizer.authorize(user, &action).allowed;
    Ok((!may).then(|| {
        format!(
            "audience {audience:?} not found in pod spec volume, {} is not authorized to request tokens for this audience",
            user.name
        )
    }))
}

fn lease(operation: &Operation<'_>, node: &str) -> Option<String> {
    if operation.namespace() != Some("kube-node-lease") {
        return Some("can only access leases in the \"kube-node-lease\" system namespace".into());
    }
    (operation.object_name() != node)
        .then(|| "can only access node lease with the same name as the requesting node".to_owned())
}

fn slice(operation: &Operation<'_>, node: &str) -> Option<String> {
    let (does, slice) = match operation.verb {
        Verb::Create => ("create", operation.new.as_deref()?),
        Verb::Delete => ("delete", operation.old?),
        _ => return None,
    };
    (slice.str_at(&["spec", "nodeName"]) != node)
        .then(|| format!("can only {does} ResourceSlice with the same NodeName as the requesting node"))
}

/// A node asks for certificates in its own name.
fn signing_request(operation: &Operation<'_>, node: &str) -> Option<String> {
    const SIGNERS: &[&str] =
        &["kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet"];
    let request = operation.new.as_deref().filter(|_| operation.verb == Verb::Create)?;
    if !SIGNERS.contains(&request.str_at(&["spec", "signerName"])) {
        return None;
    }
    let pem = STANDARD.decode(request.str_at(&["spec", "request"])).unwrap_or_default();
    let name = x509_parser::pem::parse_x509_pem(&pem).ok().and_then(|(_, block)| {
        let (_, request) = X509CertificationRequest::from_der(&block.contents).ok()?;
        // The last one counts, as it does in the certificate; one in another form than text is nobody's.
        let name = request.certification_request_info.subject.iter_common_name().last();
        Some(name.and_then(|name| name.as_str().ok()).unwrap_or_default().to_owned())
    });
    match name {
        None => Some("unable to parse csr: PEM block type must be CERTIFICATE REQUEST".into()),
        Some(name) if name == format!("system:node:{node}") => None,
        Some(_) => Some(format!("can only create a node CSR with CN=system:node:{node}")),
    }
}
