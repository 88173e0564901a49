//! What LimitRanges add to pods, and which pods and claims they refuse.
//!
//! Pure. Upstream: the admission plugin LimitRanger.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

use api::{
    Message, message,
    object::ObjectExt as _,
    pod::{Resources, limits_of_containers, requests_of_containers},
    quantity::Quantity,
};
use k8s_openapi::{
    api::core::v1::{Container, LimitRange, LimitRangeItem, PersistentVolumeClaim, Pod, PodSpec},
    apimachinery::pkg::api::resource::Quantity as Wire,
};
use serde_json::{Value, json};

/// Tells on a pod what was added to it.
const ANNOTATION: &str = "kubernetes.io/limit-ranger";
/// The most defaults that one range adds to a pod; no stored pod has room for so many.
const MOST_ADDED: usize = 100_000;
/// After so much that is wrong nothing more is looked at: every container times every bound would be much.
const MOST_WRONG: usize = 1_000;

type List = BTreeMap<String, Wire>;

fn items<'a>(range: &'a LimitRange, sort: &'static str) -> impl Iterator<Item = &'a LimitRangeItem> {
    range.spec.iter().flat_map(|spec| &spec.limits).filter(move |item| item.type_ == sort)
}

/// Gives the containers of a pod the requests and limits that they lack and the range has a default for.
///
/// # Errors
/// When these are more than a pod can hold.
pub fn fill(range: &LimitRange, pod: &mut Value) -> Result<(), Message> {
    let (mut requests, mut limits) = (List::new(), List::new());
    for item in items(range, "Container") {
        requests.extend(item.default_request.clone().unwrap_or_default());
        limits.extend(item.default.clone().unwrap_or_default());
    }
    let (mut set, mut added) = (Vec::new(), 0);
    for (field, sort) in [("containers", "container"), ("initContainers", "init container")] {
        let containers =
            pod.get_mut("spec").and_then(|spec| spec.get_mut(field)).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            for (list, what, defaults) in [("requests", "request", &requests), ("limits", "limit", &limits)] {
                let names = add(container, list, defaults);
                added += names.len();
                if added > MOST_ADDED {
                    let range = range.metadata.name.as_deref().unwrap_or_default();
                    return Err(message!(
                        "limit range {range:?} has more defaults than so many containers can take"
                    ));
                }
                if !names.is_empty() {
                    set.push(format!(
                        "{} {what} for {sort} {}",
                        names.join(", "),
                        container.str_at(&["name"])
                    ));
                }
            }
        }
    }
    if !set.is_empty() {
        let told = format!("LimitRanger plugin set: {}", set.join("; "));
        pod.metadata_mut().entry("annotations").or_insert(Value::Null)[ANNOTATION] = told.into();
    }
    Ok(())
}

/// Adds what a list of a container's resources does not say, and names it.
fn add<'a>(container: &mut Value, list: &str, defaults: &'a List) -> Vec<&'a str> {
    let mut added = Vec::new();
    for (name, amount) in defaults {
        if container.at(&["resources", list, name]).is_none() {
            container["resources"][list][name] = json!(amount);
            added.push(name.as_str());
        }
    }
    added
}

/// Refuses a pod that is not within the range.
///
/// # Errors
/// All that is wrong with it.
pub fn check_pod(range: &LimitRange, pod: &Pod) -> Result<(), Message> {
    let Some(spec) = &pod.spec else { return Ok(()) };
    let mut wrong = Wrong::default();
    for item in items(range, "Container") {
        for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
            if wrong.is_enough() {
                break;
            }
            wrong.check(item, &Asked::of_container(container));
        }
    }
    for item in items(range, "Pod") {
        wrong.check(item, &Asked::of_pod(spec));
    }
    wrong.result()
}

/// Refuses a claim that is not within the range.
///
/// # Errors
/// All that is wrong with it.
pub fn check_claim(range: &LimitRange, claim: &PersistentVolumeClaim) -> Result<(), Message> {
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let asked =
        Asked { requests: read(resources.and_then(|r| r.requests.as_ref())), limits: Resources::new() };
    let mut wrong = Wrong::default();
    for item in items(range, "PersistentVolumeClaim") {
        wrong.least(item, &asked);
        for (name, most) in amounts(&item.max) {
            let request = asked.requests.get(name).copied();
            let above = request
                .filter(|request| *request > most)
                .map(|request| format!(", but request is {request}"));
            let none = request.is_none().then(|| ".  No request is specified".to_owned());
            wrong.bound(("maximum", name, item, most), none.or(above));
        }
    }
    wrong.result()
}

/// What a container or a pod asks for and may use.
struct Asked<'a> {
    requests: Resources<'a>,
    limits: Resources<'a>,
}

impl<'a> Asked<'a> {
    fn of_container(container: &'a Container) -> Self {
        let resources = container.resources.as_ref();
        let requests = resources.and_then(|resources| resources.requests.as_ref());
        Self {
            requests: read(requests),
            limits: read(resources.and_then(|resources| resources.limits.as_ref())),
        }
    }

    /// What a pod's containers ask for together, unless it says it as a whole. What its runtime takes does not count.
    fn of_pod(spec: &'a PodSpec) -> Self {
        let (mut requests, mut limits) = (requests_of_containers(spec), limits_of_containers(spec));
        if let Some(whole) = &spec.resources {
            let cpu_and_memory =
                |list: &'a Option<List>| amounts(list).filter(|(name, _)| matches!(*name, "cpu" | "memory"));
            requests.extend(cpu_and_memory(&whole.requests));
            limits.extend(cpu_and_memory(&whole.limits));
        }
        Self { requests, limits }
    }
}

fn read(list: Option<&List>) -> Resources<'_> {
    list.into_iter().flatten().map(|(name, wire)| (name.as_str(), Quantity::of(wire))).collect()
}

fn amounts(list: &Option<List>) -> impl Iterator<Item = (&str, Quantity)> {
    list.iter().flatten().map(|(name, wire)| (name.as_str(), Quantity::of(wire)))
}

/// What is wrong, each thing once.
#[derive(Default)]
struct Wrong {
    found: usize,
    told: Vec<String>,
    known: BTreeSet<String>,
}

impl Wrong {
    fn check(&mut self, item: &LimitRangeItem, asked: &Asked<'_>) {
        self.least(item, asked);
        self.most(item, asked);
        self.ratio(item, asked);
    }

    fn is_enough(&self) -> bool {
        self.found >= MOST_WRONG
    }

    fn tell(&mut self, words: String) {
        self.found += 1;
        if self.known.insert(words.clone()) {
            self.told.push(words);
        }
    }

    /// Tells of a bound that is not kept, and how.
    fn bound(
        &mut self,
        (which, name, item, bound): (&str, &str, &LimitRangeItem, Quantity),
        how: Option<String>,
    ) {
        if let Some(how) = how {
            self.tell(format!("{which} {name} usage per {} is {bound}{how}", item.type_));
        }
    }

    fn least(&mut self, item: &LimitRangeItem, asked: &Asked<'_>) {
        let [requests, limits] = [("request", &asked.requests), ("limit", &asked.limits)];
        self.bounds(("minimum", &item.min, Ordering::Less), item, [requests, limits]);
    }

    fn most(&mut self, item: &LimitRangeItem, asked: &Asked<'_>) {
        let [requests, limits] = [("request", &asked.requests), ("limit", &asked.limits)];
        self.bounds(("maximum", &item.max, Ordering::Greater), item, [limits, requests]);
    }

    /// Holds what is asked for to bounds, beyond which is what compares so. The first list must say something.
    fn bounds(
        &mut self,
        (which, bounds, beyond): (&str, &Option<List>, Ordering),
        item: &LimitRangeItem,
        lists: [(&str, &Resources<'_>); 2],
    ) {
        for (name, bound) in amounts(bounds) {
            if self.is_enough() {
                return;
            }
            let broken = |(what, list): (&str, &Resources<'_>)| {
                let amount = list.get(name).filter(|amount| amount.partial_cmp(&&bound) == Some(beyond))?;
                Some(format!(", but {what} is {amount}"))
            };
            let (what, first) = lists[0];
            let how = match first.get(name) {
                None => Some(format!(".  No {what} is specified")),
                Some(_) => lists.into_iter().find_map(broken),
            };
            self.bound((which, name, item, bound), how);
        }
    }

    fn ratio(&mut self, item: &LimitRangeItem, asked: &Asked<'_>) {
        for (name, most) in amounts(&item.max_limit_request_ratio) {
            if self.is_enough() {
                return;
            }
            let some = |list: &Resources<'_>| {
                list.get(name).filter(|amount| !amount.is_zero()).map(Quantity::as_f64)
            };
            let how = match (some(&asked.requests), some(&asked.limits)) {
                (None, _) => "no request is specified or request is 0".to_owned(),
                (_, None) => "no limit is specified or limit is 0".to_owned(),
                (Some(request), Some(limit)) if limit / request > most.as_f64() => {
                    format!("provided ratio is {:.6}", limit / request)
                }
                _ => continue,
            };
            self.tell(format!("{name} max limit to request ratio per {} is {most}, but {how}", item.type_));
        }
    }

    fn result(self) -> Result<(), Message> {
        match self.told.as_slice() {
            [] => Ok(()),
            [one] => Err(one.as_str().into()),
            several => Err(message!("[{}]", several.join(", "))),
        }
    }
}

#[cfg(test)]
mod tests;
