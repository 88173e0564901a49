//! What an object costs by the names that quotas count.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    core::v1::{Container, PersistentVolumeClaim, Pod, Service},
    resource::v1::ResourceClaim,
};
use serde_json::Value;

use super::{Amounts, Charged, Term, devices, scope};
use crate::{
    object::ObjectExt as _,
    pod::{self, is_resource_of_whole_pods},
    quantity::Quantity,
    resource_names::{is_extended, is_huge_page},
    volume_binding::class_asked,
};

/// A resource whose objects quotas count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    sort: Sort,
    /// `count/deployments.apps`
    count: String,
    /// The older name of the count.
    alias: Option<&'static str>,
}

/// What is counted of a resource beside its objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Pods,
    Services,
    Claims,
    Devices,
    Other,
}

/// Resources that have a name of their own from before all could be counted.
const OLD_NAMES: &[&str] = &["configmaps", "replicationcontrollers", "resourcequotas", "secrets"];
/// What is counted of both the requests and the limits of pods.
const AMOUNTS: &[&str] = &["cpu", "memory", "ephemeral-storage"];
/// What a quota for it makes containers say.
const SAID: &[&str] = &["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];
/// Before the names of what is counted of a pod's requests and limits.
const REQUESTS: &str = "requests.";
const LIMITS: &str = "limits.";
/// Between the name of a storage class and what is counted of its claims.
const OF_CLASS: &str = ".storageclass.storage.k8s.io/";

impl Counted {
    /// How a resource is counted; `None` for events, which never are.
    pub fn of(group: &str, plural: &str) -> Option<Self> {
        let sort = match (group, plural) {
            ("" | "events.k8s.io", "events") => return None,
            ("", "pods") => Sort::Pods,
            ("", "services") => Sort::Services,
            ("", "persistentvolumeclaims") => Sort::Claims,
            ("resource.k8s.io", "resourceclaims") => Sort::Devices,
            _ => Sort::Other,
        };
        let alias = OLD_NAMES.iter().find(|name| group.is_empty() && **name == plural);
        let dot = if group.is_empty() { "" } else { "." };
        Some(Self { sort, count: format!("count/{plural}{dot}{group}"), alias: alias.copied() })
    }

    /// Whether it is counted under this name of a quota.
    pub fn counts(&self, name: &str) -> bool {
        let own = |name: &str| match self.sort {
            Sort::Pods => is_of_pods(name),
            Sort::Services => matches!(name, "services" | "services.nodeports" | "services.loadbalancers"),
            Sort::Claims => {
                let name = name.split_once(OF_CLASS).map_or(name, |(_, name)| name);
                matches!(name, "persistentvolumeclaims" | "requests.storage")
            }
            Sort::Devices => name.ends_with(devices::OF_CLASS),
            Sort::Other => false,
        };
        name == self.count || self.alias == Some(name) || own(name)
    }

    /// Whether an update of an object, or of this subresource, can cost more.
    pub fn may_grow(&self, subresource: Option<&str>, old: &Value, new: &Value) -> bool {
        let ends = |pod: &Value| {
            pod.at(&["spec", "activeDeadlineSeconds"]).is_some_and(|seconds| !seconds.is_null())
        };
        match (self.sort, subresource) {
            (Sort::Pods, None) => ends(old) != ends(new),
            (Sort::Pods, Some("resize")) => true,
            (Sort::Services | Sort::Claims | Sort::Devices, None) => true,
            _ => false,
        }
    }

    /// Reads an object of the resource.
    ///
    /// # Errors
    /// When it is not of that type.
    pub fn read(&self, object: &Value) -> Result<Box<dyn Charged>, serde_json::Error> {
        use serde::Deserialize as _;
        Ok(match self.sort {
            Sort::Pods => Box::new(Pod::deserialize(object)?),
            Sort::Services => Box::new(Service::deserialize(object)?),
            Sort::Claims => Box::new(PersistentVolumeClaim::deserialize(object)?),
            Sort::Devices => Box::new(ResourceClaim::deserialize(object)?),
            Sort::Other => Box::new(self.clone()),
        })
    }
}

/// Any object of a resource of which only the number counts.
impl Charged for Counted {
    fn usage(&self, _now: Timestamp) -> Amounts {
        amounts(self.alias.into_iter().chain([self.count.as_str()]).map(|name| (name, 1)))
    }
}

fn amounts<'a>(counts: impl IntoIterator<Item = (&'a str, i64)>) -> Amounts {
    counts.into_iter().map(|(name, count)| (name.to_owned(), Quantity::whole(count))).collect()
}

// === Pods ===

fn is_of_pods(name: &str) -> bool {
    let amount = name.strip_prefix(REQUESTS).or(name.strip_prefix(LIMITS)).unwrap_or(name);
    name == "pods"
        || AMOUNTS.contains(&amount)
        || is_huge_page(name)
        || name.strip_prefix(REQUESTS).is_some_and(|name| is_huge_page(name) || is_extended(name))
}

/// From when on a pod that is being deleted is not counted any more: its node does not answer.
pub fn overdue_from(pod: &Pod) -> Option<Timestamp> {
    let given = SignedDuration::from_secs(pod.metadata.deletion_grace_period_seconds?);
    pod.metadata.deletion_timestamp.as_ref()?.0.checked_add(given).ok()
}

impl Charged for Pod {
    fn usage(&self, now: Timestamp) -> Amounts {
        let mut usage = amounts([("count/pods", 1)]);
        let Some(spec) = &self.spec else { return usage };
        if pod::is_finished(self) || overdue_from(self).is_some_and(|end| now > end) {
            return usage;
        }
        usage.insert("pods".to_owned(), Quantity::whole(1));
        for (name, amount) in pod::requests_held(self) {
            if AMOUNTS.contains(&name) || is_huge_page(name) {
                usage.insert(name.to_owned(), amount);
            }
            if AMOUNTS.contains(&name) || is_huge_page(name) || is_extended(name) {
                usage.insert(format!("{REQUESTS}{name}"), amount);
            }
        }
        let limits = pod::limits(spec).into_iter().filter(|(name, _)| AMOUNTS.contains(name));
        usage.extend(limits.map(|(name, amount)| (format!("{LIMITS}{name}"), amount)));
        usage
    }

    fn is_in(&self, term: Term<'_>) -> bool {
        scope::has_pod(term, self)
    }

    /// A quota for cpu or memory wants each container to say how much of it it needs.
    fn lacks(&self, names: &BTreeSet<&str>) -> Option<String> {
        let spec = self.spec.as_ref()?;
        let whole =
            spec.resources.iter().flat_map(|r| r.requests.iter().chain(&r.limits)).flat_map(|l| l.keys());
        if whole.into_iter().any(|name| is_resource_of_whole_pods(name)) {
            return None;
        }
        let mut lacking: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
            for name in SAID.iter().filter(|name| names.contains(*name) && !says(container, name)) {
                lacking.entry(name).or_default().insert(&container.name);
            }
        }
        let one = |(name, containers): (&&str, &BTreeSet<&str>)| {
            format!("{name} for: {}", containers.iter().copied().collect::<Vec<_>>().join(","))
        };
        let all: Vec<String> = lacking.iter().map(one).collect();
        (!all.is_empty()).then(|| format!("must specify {}", all.join("; ")))
    }
}

/// Whether a container says how much it needs of what is counted under one of the names in [`SAID`].
fn says(container: &Container, name: &str) -> bool {
    let Some(resources) = &container.resources else { return false };
    let (list, resource) = match name.strip_prefix(LIMITS) {
        Some(resource) => (&resources.limits, resource),
        None => (&resources.requests, name.strip_prefix(REQUESTS).unwrap_or(name)),
    };
    list.as_ref().is_some_and(|list| list.contains_key(resource))
}

// === Services ===

impl Charged for Service {
    fn usage(&self, _now: Timestamp) -> Amounts {
        let spec = self.spec.as_ref();
        let sort = spec.and_then(|spec| spec.type_.as_deref()).unwrap_or_default();
        let ports = spec.iter().flat_map(|spec| spec.ports.iter().flatten());
        let chosen = spec.and_then(|spec| spec.allocate_load_balancer_node_ports) == Some(false);
        // Ports that the server is yet to choose count by what is asked for.
        let node_ports = match sort {
            "LoadBalancer" if chosen => ports.filter(|port| port.node_port.unwrap_or(0) != 0).count(),
            "NodePort" | "LoadBalancer" => ports.count(),
            _ => 0,
        };
        amounts([
            ("count/services", 1),
            ("services", 1),
            ("services.nodeports", i64::try_from(node_ports).unwrap_or(i64::MAX)),
            ("services.loadbalancers", i64::from(sort == "LoadBalancer")),
        ])
    }
}

// === Claims ===

impl Charged for PersistentVolumeClaim {
    fn usage(&self, _now: Timestamp) -> Amounts {
        let spec = self.spec.as_ref();
        let class = class_asked(self);
        let asked = spec.and_then(|spec| spec.resources.as_ref()?.requests.as_ref()?.get("storage"));
        let given =
            self.status.as_ref().and_then(|status| status.allocated_resources.as_ref()?.get("storage"));
        let mut usage = amounts([("count/persistentvolumeclaims", 1), ("persistentvolumeclaims", 1)]);
        if let Some(asked) = asked.map(Quantity::of) {
            let most = given.map_or(asked, |given| Quantity::of(given).max(asked));
            let bytes = if most.is_whole() { most } else { Quantity::bytes(most.value()) };
            usage.insert("requests.storage".to_owned(), bytes);
        }
        for name in ["persistentvolumeclaims", "requests.storage"] {
            if let (Some(class), Some(amount)) =
                (class.filter(|class| !class.is_empty()), usage.get(name).copied())
            {
                usage.insert(format!("{class}{OF_CLASS}{name}"), amount);
            }
        }
        usage
    }

    fn is_in(&self, term: Term<'_>) -> bool {
        scope::has_claim(term, self)
    }
}
