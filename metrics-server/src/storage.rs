//! What nodes and containers use, from what kubelets told at two times. Pure. Counterpart of upstream's `pkg/storage`.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::time::Duration;

use jiff::Timestamp;

use crate::scrape::{Point, Scrape};

/// The least time that processor use is told of: over less it says little.
const FRESH: Duration = Duration::from_secs(10);

/// The last points of something.
#[derive(Debug, Clone, Copy)]
struct Points {
    last: Point,
    before: Option<Point>,
}

/// What something uses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Until when.
    pub time: Timestamp,
    /// For how long.
    pub window: Duration,
    /// Cores.
    pub cpu: f64,
    /// Bytes.
    pub memory: i64,
}

impl Points {
    /// The use between two points; of what began since the first of them, or has only one, since it began.
    fn usage(&self) -> Option<Usage> {
        let Self { last, before } = self;
        let whole = before.filter(|before| last.started.is_none_or(|started| started <= before.time));
        let began = || {
            let point = Point { time: last.started?, cpu: 0.0, ..*last };
            let age = Duration::try_from(last.time.duration_since(point.time)).ok()?;
            (age >= FRESH).then_some(point)
        };
        let first = whole.or_else(began)?;
        let window = Duration::try_from(last.time.duration_since(first.time)).ok()?;
        let cpu = (last.cpu - first.cpu) / window.as_secs_f64();
        let sound = cpu.is_finite() && cpu >= 0.0;
        sound.then_some(Usage { time: last.time, window, cpu, memory: last.memory })
    }
}

/// What kubelets told, by node and container.
#[derive(Debug, Default)]
pub struct Storage {
    nodes: HashMap<String, Points>,
    pods: HashMap<(String, String), HashMap<String, Points>>,
}

impl Storage {
    /// Takes in what kubelets told, by their nodes' names. What none told of is forgotten.
    pub fn store(&mut self, scrapes: Vec<(String, Scrape)>) {
        let (mut nodes, mut pods) = (HashMap::new(), HashMap::<_, HashMap<_, _>>::new());
        for (name, scrape) in scrapes {
            if let Some(point) = scrape.node {
                let points = next(&self.nodes, &name, point);
                nodes.insert(name, points);
            }
            for ((namespace, pod, container), point) in scrape.containers {
                let key = (namespace, pod);
                let known = self.pods.get(&key);
                let points =
                    known.map_or(Points { last: point, before: None }, |all| next(all, &container, point));
                pods.entry(key).or_default().insert(container, points);
            }
        }
        (self.nodes, self.pods) = (nodes, pods);
    }

    /// Whether all that is known of has been told of twice.
    pub fn is_settled(&self) -> bool {
        !self.nodes.is_empty() && self.nodes.values().all(|points| points.before.is_some())
    }

    /// What a node uses.
    pub fn node(&self, name: &str) -> Option<Usage> {
        self.nodes.get(name)?.usage()
    }

    /// What the containers of a pod use; nothing while that is not known of all.
    pub fn pod(&self, namespace: &str, name: &str) -> Option<BTreeMap<&str, Usage>> {
        let containers = self.pods.get(&(namespace.to_owned(), name.to_owned()))?;
        containers.iter().map(|(name, points)| Some((name.as_str(), points.usage()?))).collect()
    }
}

/// The points after another one came in.
fn next<K: Hash + Eq>(known: &HashMap<K, Points>, name: &K, point: Point) -> Points {
    match known.get(name) {
        Some(known) if known.last.time < point.time => Points { last: point, before: Some(known.last) },
        // The kubelet has not looked again.
        Some(known) => *known,
        None => Points { last: point, before: None },
    }
}

#[cfg(test)]
mod tests;
