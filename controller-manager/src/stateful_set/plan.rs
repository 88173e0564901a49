//! The next step of a StatefulSet: make the lowest pod that is missing, delete the highest that is too many, replace
//! the highest that is of an older template; one after the other, each when the ones before it work, or all at once
//! where its policy is Parallel. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, PodTemplateSpec};

use super::{claims, identity};
use crate::frame::{Action, Kind, Plan, Timestamp, Told, reference};
use crate::kit::claim::{Claim, Owner};
use crate::kit::revisions::{self, History};
use crate::kit::shares::{self, Round};
use crate::kit::{owners, pods};

/// The label of a revision with its hash.
const HASH_LABEL: &str = "controller.kubernetes.io/hash";
/// The most pods created or deleted in one plan.
const BURST: usize = 250;

/// All that a plan for one StatefulSet looks at.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The StatefulSet.
    pub set: Arc<StatefulSet>,
    /// Pods that it controls, and those of its namespace that nobody does.
    pub pods: Vec<Arc<Pod>>,
    /// Revisions that it controls, and those that nobody does.
    pub revisions: Vec<Arc<ControllerRevision>>,
    /// Claims of the namespace by name.
    pub claims: BTreeMap<String, Arc<PersistentVolumeClaim>>,
}

impl Snapshot {
    /// The specification; the server accepts no StatefulSet without one.
    pub fn spec(&self) -> &StatefulSetSpec {
        self.set.spec.as_ref().expect("the API server refuses a StatefulSet without spec")
    }

    fn owner(&self) -> Owner<'_> {
        Owner { kind: Kind::of::<StatefulSet>(), meta: &self.set.metadata, selector: &self.spec().selector }
    }

    /// The history of its template.
    pub fn history(&self) -> History {
        let collisions = self.set.status.as_ref().and_then(|status| status.collision_count);
        History::of(&self.owner(), &self.spec().template, collisions, HASH_LABEL, &self.revisions)
    }

    /// The name of the revision that pods are still made from below the partition.
    pub fn current_revision<'a>(&'a self, history: &'a History) -> &'a str {
        let noted = self.set.status.as_ref().and_then(|status| status.current_revision.as_deref());
        let exists = |name: &&str| history.known.iter().any(|known| owners::name(&known.metadata) == *name);
        noted.filter(exists).unwrap_or_else(|| owners::name(&history.newest().metadata))
    }

    fn claim(&self, pod: &Pod) -> Claim {
        let named =
            identity::ordinal(owners::name(&self.set.metadata), owners::name(&pod.metadata)).is_some();
        match self.owner().claim(&pod.metadata, true) {
            Claim::Adopt if !named => Claim::Leave,
            claim => claim,
        }
    }

    /// Its pods by ordinal.
    pub fn pods_by_ordinal(&self) -> BTreeMap<i32, &Pod> {
        let set = owners::name(&self.set.metadata);
        let ours = self.pods.iter().filter(|pod| self.claim(pod).is_ours());
        ours.filter_map(|pod| Some((identity::ordinal(set, owners::name(&pod.metadata))?, &**pod))).collect()
    }

    /// The ordinals that are to have a pod.
    pub fn wanted(&self) -> std::ops::Range<i32> {
        let start = identity::start(self.spec());
        start..start.saturating_add(self.spec().replicas.unwrap_or(1))
    }

    /// Whether a pod works: ready for long enough and not on its way out.
    pub fn works(&self, pod: &Pod, now: Timestamp) -> bool {
        let seconds = self.spec().min_ready_seconds.unwrap_or(0);
        pods::phase(pod) == "Running"
            && !pods::is_terminating(pod)
            && pods::available_from(pod, seconds).is_some_and(|at| at <= now)
    }

    fn is_rolling(&self) -> bool {
        let strategy = self.spec().update_strategy.as_ref().and_then(|strategy| strategy.type_.as_deref());
        strategy.is_none_or(|strategy| strategy == "RollingUpdate")
    }

    fn partition(&self) -> i32 {
        let rolling =
            self.spec().update_strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
        rolling.and_then(|rolling| rolling.partition).unwrap_or(0)
    }
}

/// The revision that a pod was made from.
pub fn revision_of(pod: &Pod) -> &str {
    let label = pod.metadata.labels.as_ref().and_then(|labels| labels.get(revisions::POD_LABEL));
    label.map(String::as_str).unwrap_or_default()
}

/// What to do next about a StatefulSet.
pub fn plan(snapshot: &Snapshot, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    let owner = snapshot.owner();
    plan.actions.extend(snapshot.pods.iter().filter_map(|pod| owner.settle(&**pod, snapshot.claim(pod))));
    if snapshot.set.metadata.deletion_timestamp.is_some() {
        return plan;
    }
    let mut history = snapshot.history();
    plan.actions.append(&mut history.actions);
    let pods = snapshot.pods_by_ordinal();
    let mut live: BTreeSet<&str> = pods.values().map(|pod| revision_of(pod)).collect();
    live.insert(snapshot.current_revision(&history));
    plan.actions.extend(history.prune(&live, snapshot.spec().revision_history_limit));
    let mut steps = Steps {
        snapshot,
        history: &history,
        in_order: snapshot.spec().pod_management_policy.as_deref() != Some("Parallel"),
        now,
        actions: Vec::new(),
        made: Vec::new(),
        left: BURST,
    };
    // Each is begun when the one before it has nothing more to wait for.
    let _waiting = steps.fill(&pods).and_then(|()| steps.condemn(&pods)).and_then(|()| steps.replace(&pods));
    plan.actions.append(&mut steps.actions);
    plan.actions.extend(Action::create_all(&steps.made, Some(told(&snapshot.set, "create"))));
    plan
}

/// Something has to happen before the next step.
struct Wait;

struct Steps<'a> {
    snapshot: &'a Snapshot,
    history: &'a History,
    /// Whether each pod waits for the one before it.
    in_order: bool,
    now: Timestamp,
    actions: Vec<Action>,
    /// Pods to make once all that is done.
    made: Vec<Pod>,
    /// How many more pods may be created or deleted.
    left: usize,
}

impl Steps<'_> {
    /// Sees to it that each wanted ordinal has a pod.
    fn fill(&mut self, pods: &BTreeMap<i32, &Pod>) -> Result<(), Wait> {
        for ordinal in self.snapshot.wanted() {
            let Some(pod) = pods.get(&ordinal) else {
                self.create(ordinal)?;
                continue;
            };
            if pods::is_finished(pod) {
                self.restart(pod)?;
                continue;
            }
            self.actions.extend(claims::assign(self.snapshot, pod, false));
            if pods::phase(pod) == "Pending" {
                self.actions.extend(claims::create(self.snapshot, owners::name(&pod.metadata)));
            }
            if let Some(mended) = identity::mended(pod, ordinal).filter(|_| !pods::is_terminating(pod)) {
                self.actions.extend(Action::change(*pod, &mended, None));
            }
            if self.in_order && !self.snapshot.works(pod, self.now) {
                return Err(Wait);
            }
        }
        Ok(())
    }

    /// Deletes the pods beyond the wanted ordinals, highest first.
    fn condemn(&mut self, pods: &BTreeMap<i32, &Pod>) -> Result<(), Wait> {
        let wanted = self.snapshot.wanted();
        let condemned: Vec<&Pod> =
            pods.iter().rev().filter(|(ordinal, _)| !wanted.contains(ordinal)).map(|(_, pod)| *pod).collect();
        for (index, pod) in condemned.iter().enumerate() {
            let works = |pod: &&Pod| self.snapshot.works(pod, self.now);
            let lower_is_broken = || condemned[index + 1..].iter().any(|pod| !works(pod));
            if self.in_order && (pods::is_terminating(pod) || (!works(pod) && lower_is_broken())) {
                return Err(Wait);
            }
            self.actions.extend(claims::assign(self.snapshot, pod, true));
            if !pods::is_terminating(pod) {
                self.delete(pod)?;
            }
            if self.in_order {
                return Err(Wait);
            }
        }
        Ok(())
    }

    /// Replaces pods of older templates, highest first, down to the partition, no more at once than may be missing.
    fn replace(&mut self, pods: &BTreeMap<i32, &Pod>) -> Result<(), Wait> {
        if !self.snapshot.is_rolling() {
            return Ok(());
        }
        let wanted = self.snapshot.wanted();
        let from = wanted.start.saturating_add(self.snapshot.partition());
        let rolling = self.snapshot.spec().update_strategy.as_ref().and_then(|s| s.rolling_update.as_ref());
        let share = rolling.and_then(|rolling| rolling.max_unavailable.as_ref());
        let replicas = wanted.end - wanted.start;
        let most = share.map_or(1, |share| shares::of(share, replicas, Round::Up)).max(1);
        let newest = owners::name(&self.history.newest().metadata);
        let mut missing = 0;
        for ordinal in (from..wanted.end).rev() {
            if missing >= most {
                return Err(Wait);
            }
            match pods.get(&ordinal) {
                Some(pod) if revision_of(pod) != newest && !pods::is_terminating(pod) => {
                    missing += 1;
                    self.delete(pod)?;
                }
                Some(pod) if self.snapshot.works(pod, self.now) => {}
                _ => missing += 1,
            }
        }
        Ok(())
    }

    /// Makes the claims and the pod of an ordinal.
    fn create(&mut self, ordinal: i32) -> Result<(), Wait> {
        let (set, spec) = (&*self.snapshot.set, self.snapshot.spec());
        let old = self.snapshot.is_rolling()
            && ordinal < self.snapshot.wanted().start.saturating_add(self.snapshot.partition());
        let newest = owners::name(&self.history.newest().metadata);
        let revision = if old { self.snapshot.current_revision(self.history) } else { newest };
        let template = self.template_of(revision).unwrap_or_else(|| spec.template.clone());
        let pod = identity::pod(set, spec, &template, revision, ordinal);
        self.actions.extend(claims::create(self.snapshot, owners::name(&pod.metadata)));
        self.made.push(pod);
        self.spend()?;
        if self.in_order { Err(Wait) } else { Ok(()) }
    }

    /// The template of a revision.
    fn template_of(&self, revision: &str) -> Option<PodTemplateSpec> {
        let found = self.history.known.iter().find(|known| owners::name(&known.metadata) == revision)?;
        revisions::template(found)
    }

    /// Deletes a pod that has ended; another one takes its name.
    fn restart(&mut self, pod: &Pod) -> Result<(), Wait> {
        if !pods::is_terminating(pod) {
            let set = &self.snapshot.set;
            let (namespace, name) = (owners::namespace(&set.metadata), owners::name(&set.metadata));
            let failed = pods::phase(pod) == "Failed";
            let what = if failed { "failed" } else { "terminated" };
            self.actions.push(Action::Tell {
                about: reference(&**set),
                warning: failed,
                reason: if failed { "RecreatingFailedPod" } else { "RecreatingTerminatedPod" },
                message: format!(
                    "StatefulSet {namespace}/{name} is recreating {what} Pod {}",
                    owners::name(&pod.metadata)
                ),
            });
            self.delete(pod)?;
        }
        if self.in_order { Err(Wait) } else { Ok(()) }
    }

    fn delete(&mut self, pod: &Pod) -> Result<(), Wait> {
        self.actions.push(Action::delete(pod, Some(told(&self.snapshot.set, "delete"))));
        self.spend()
    }

    fn spend(&mut self) -> Result<(), Wait> {
        self.left = self.left.saturating_sub(1);
        if self.left == 0 { Err(Wait) } else { Ok(()) }
    }
}

fn told(set: &StatefulSet, verb: &str) -> Told {
    let (done, failed) = match verb {
        "create" => ("SuccessfulCreate", "FailedCreate"),
        _ => ("SuccessfulDelete", "FailedDelete"),
    };
    let set_name = owners::name(&set.metadata);
    Told {
        about: reference(set),
        done: Some((done, format!("{verb} Pod {{name}} in StatefulSet {set_name} successful"))),
        failed: Some((
            failed,
            format!("{verb} Pod {{name}} in StatefulSet {set_name} failed error: {{error}}"),
        )),
    }
}
