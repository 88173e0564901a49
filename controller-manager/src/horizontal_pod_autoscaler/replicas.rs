//! How many replicas a metric asks for. Pure. Upstream: `podautoscaler/replica_calculator.go`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::quantity::Quantity;
use api::{Message, message, pod::lasting_containers};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::Deserialize;

use crate::frame::{Timestamp, plus_seconds, span};
use crate::kit::{owners, pods};

/// For so long a pod's processor use is that of its beginning, unless it was ready for a whole window.
const STARTING: i64 = 5 * 60;
/// A pod that became unready within this time of its start has never been ready.
const FIRST_READINESS: i64 = 30;

/// What a pod used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// In thousandths of the resource's unit.
    pub value: i64,
    /// Until when …
    pub time: Timestamp,
    /// … and for how long.
    pub window: Duration,
}

/// What pods used, by their names.
pub type Samples = BTreeMap<String, Sample>;

/// What the metrics API tells of a pod.
#[derive(Deserialize)]
pub struct PodMetrics {
    metadata: ObjectMeta,
    timestamp: Time,
    window: String,
    containers: Vec<ContainerMetrics>,
}

#[derive(Deserialize)]
struct ContainerMetrics {
    name: String,
    usage: BTreeMap<String, Wire>,
}

/// What is aimed at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// Percent of what pods ask for.
    Utilization(i32),
    /// Thousandths of the unit, of each pod.
    Average(i64),
}

/// How far from the target is still on target.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    pub down: f64,
    pub up: f64,
}

impl Tolerance {
    fn covers(self, ratio: f64) -> bool {
        (1.0 - self.down..=1.0 + self.up).contains(&ratio)
    }
}

/// What is measured of the pods of a workload.
pub struct Metric<'a> {
    /// The resource; "" for what is none.
    pub resource: &'a str,
    /// Of one container alone.
    pub container: Option<&'a str>,
    pub target: Target,
    pub tolerance: Tolerance,
}

/// What a metric says now.
#[derive(Debug, PartialEq)]
pub struct Proposal {
    pub replicas: i32,
    /// Percent of what pods ask for, where that is aimed at.
    pub utilization: Option<i32>,
    /// Thousandths of the unit, on average.
    pub average: i64,
}

/// What became of the pods: who is ready and measured, and who is not.
#[derive(Default)]
struct Groups<'a> {
    ready: usize,
    unready: Vec<&'a str>,
    missing: Vec<&'a str>,
}

impl Metric<'_> {
    /// What pods use, as far as it is known: all their containers, or the one.
    pub fn samples(&self, measured: &[PodMetrics]) -> Samples {
        let sample = |pod: &PodMetrics| {
            let wanted = pod.containers.iter().filter(|of| self.container.is_none_or(|only| only == of.name));
            let used =
                wanted.map(|of| of.usage.get(self.resource).map(|used| Quantity::of(used).milli_value()));
            let used = used.collect::<Option<Vec<i64>>>().filter(|used| !used.is_empty())?;
            let value = used.into_iter().fold(0, i64::saturating_add);
            let window = api::duration::parse_unsigned(&pod.window).ok()?;
            Some((owners::name(&pod.metadata).to_owned(), Sample { value, time: pod.timestamp.0, window }))
        };
        measured.iter().filter_map(sample).collect()
    }

    /// How many replicas there should be, given those there are.
    pub fn propose(
        &self,
        pods: &[Arc<Pod>],
        mut samples: Samples,
        current: i32,
        now: Timestamp,
    ) -> Result<Proposal, Message> {
        if pods.is_empty() {
            return Err("no pods returned by selector while calculating replica count".into());
        }
        let groups = self.group(pods, &mut samples, now);
        if samples.is_empty() {
            return Err("did not receive metrics for targeted pods (pods might be unready)".into());
        }
        let requests = match self.target {
            Target::Utilization(_) => self.requests(pods)?,
            Target::Average(_) => BTreeMap::new(),
        };
        let (ratio, utilization, average) = self.ratio(&samples, &requests)?;
        let stay = |replicas| Ok(Proposal { replicas, utilization, average });
        let up_with_unready = !groups.unready.is_empty() && ratio > 1.0;
        if !up_with_unready && groups.missing.is_empty() {
            let on_target = self.tolerance.covers(ratio);
            return stay(if on_target { current } else { up(ratio, groups.ready) });
        }
        // Who is not known must not make more of a change than who is.
        for name in &groups.missing {
            let value = match self.target {
                _ if ratio > 1.0 => 0,
                _ if ratio == 1.0 => continue,
                Target::Average(target) => target,
                Target::Utilization(target) => {
                    let asked = i128::from(*requests.get(*name).unwrap_or(&0));
                    i64::try_from(asked * i128::from(target.max(100)) / 100).unwrap_or(i64::MAX)
                }
            };
            samples.insert((*name).to_owned(), Sample { value, time: now, window: Duration::ZERO });
        }
        if up_with_unready {
            for name in &groups.unready {
                samples.insert((*name).to_owned(), Sample { value: 0, time: now, window: Duration::ZERO });
            }
        }
        let (careful, ..) = self.ratio(&samples, &requests)?;
        let turns = (ratio < 1.0 && careful > 1.0) || (ratio > 1.0 && careful < 1.0);
        if turns || self.tolerance.covers(careful) {
            return stay(current);
        }
        let replicas = up(careful, samples.len());
        let turns = (careful < 1.0 && replicas > current) || (careful > 1.0 && replicas < current);
        stay(if turns { current } else { replicas })
    }

    /// Sorts the pods, and takes out the samples of those that do not count.
    fn group<'a>(&self, pods: &'a [Arc<Pod>], samples: &mut Samples, now: Timestamp) -> Groups<'a> {
        let mut groups = Groups::default();
        for pod in pods {
            let name = owners::name(&pod.metadata);
            if pods::is_terminating(pod) || pods::phase(pod) == "Failed" {
                samples.remove(name);
            } else if pods::phase(pod) == "Pending" {
                groups.unready.push(name);
            } else {
                match samples.get(name) {
                    None => groups.missing.push(name),
                    Some(sample) if self.resource == "cpu" && is_unready(pod, sample, now) => {
                        groups.unready.push(name)
                    }
                    Some(_) => groups.ready += 1,
                }
            }
        }
        samples.retain(|name, _| !groups.unready.contains(&name.as_str()));
        groups
    }

    /// How use stands to the target; in percent of what is asked for, where that is aimed at; and its average.
    fn ratio(
        &self,
        samples: &Samples,
        requests: &BTreeMap<&str, i64>,
    ) -> Result<(f64, Option<i32>, i64), Message> {
        let sum = |values: &mut dyn Iterator<Item = i64>| values.fold(0, i64::saturating_add);
        match self.target {
            Target::Average(target) => {
                let average = sum(&mut samples.values().map(|sample| sample.value)) / samples.len() as i64;
                Ok((average as f64 / target as f64, None, average))
            }
            Target::Utilization(target) => {
                let known = || {
                    samples.iter().filter_map(|(name, sample)| Some((sample, requests.get(name.as_str())?)))
                };
                let used = sum(&mut known().map(|(sample, _)| sample.value));
                let asked = sum(&mut known().map(|(_, asked)| *asked));
                if asked == 0 {
                    return Err("no metrics returned matched known pods".into());
                }
                let percent = i32::try_from(i128::from(used) * 100 / i128::from(asked)).unwrap_or(i32::MAX);
                Ok((f64::from(percent) / f64::from(target), Some(percent), used / known().count() as i64))
            }
        }
    }

    /// What each pod asks for, in thousandths.
    fn requests<'a>(&self, pods: &'a [Arc<Pod>]) -> Result<BTreeMap<&'a str, i64>, Message> {
        let asked = pods.iter().filter_map(|pod| Some((owners::name(&pod.metadata), pod.spec.as_ref()?)));
        asked.map(|(pod, spec)| Ok((pod, self.request(pod, spec)?))).collect()
    }

    fn request(&self, pod: &str, spec: &PodSpec) -> Result<i64, Message> {
        let resource = self.resource;
        let whole = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        if self.container.is_none() && whole.is_some_and(|whole| !whole.is_empty()) {
            let asked = api::pod::requests(spec).get(resource).map(Quantity::milli_value);
            return asked.ok_or_else(|| message!("missing pod-level request for {resource} in Pod {pod}"));
        }
        let wanted = |container: &&Container| self.container.is_none_or(|only| only == container.name);
        let mut all = lasting_containers(spec).filter(wanted).peekable();
        if let (Some(only), None) = (self.container, all.peek()) {
            return Err(message!("container {only} not found in Pod {pod}"));
        }
        all.map(|container| {
            let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
            let asked = requests.and_then(|requests| requests.get(resource));
            let missing =
                || format!("missing request for {resource} in container {} of Pod {pod}", container.name);
            asked.map(|asked| Quantity::of(asked).milli_value()).ok_or_else(missing)
        })
        .try_fold(0, |sum: i64, asked| Ok(sum.saturating_add(asked?)))
    }
}

/// Whether a pod's processor use says little of what it does when it works.
fn is_unready(pod: &Pod, sample: &Sample, now: Timestamp) -> bool {
    let started = pod.status.as_ref().and_then(|status| status.start_time.as_ref());
    let (Some(started), Some(ready)) = (started, pods::condition(pod, "Ready")) else { return true };
    let since = ready.last_transition_time.as_ref().map_or(Timestamp::MIN, |time| time.0);
    let is_false = ready.status == "False";
    if plus_seconds(started.0, STARTING) > now {
        return is_false || span(since, sample.time) < sample.window || sample.time < since;
    }
    is_false && plus_seconds(started.0, FIRST_READINESS) > since
}

fn up(ratio: f64, pods: usize) -> i32 {
    (ratio * pods as f64).ceil() as i32
}
