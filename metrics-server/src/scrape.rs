//! What a kubelet's `/metrics/resource` says. Pure.

use std::collections::HashMap;

use jiff::Timestamp;

/// What something had used until a moment, and uses then.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// When that was read.
    pub time: Timestamp,
    /// Since when it runs, where that is known.
    pub started: Option<Timestamp>,
    /// Seconds of a core until then.
    pub cpu: f64,
    /// Bytes at that time.
    pub memory: i64,
}

/// Namespace, pod and container.
pub type Container = (String, String, String);

/// All that one kubelet told.
#[derive(Debug, Default, PartialEq)]
pub struct Scrape {
    /// The node itself.
    pub node: Option<Point>,
    /// Its containers.
    pub containers: HashMap<Container, Point>,
}

/// What was read of something so far.
#[derive(Default)]
struct Partial {
    cpu: Option<(f64, Timestamp)>,
    memory: Option<i64>,
    started: Option<Timestamp>,
}

impl Partial {
    fn point(self) -> Option<Point> {
        let (cpu, time) = self.cpu?;
        Some(Point { time, started: self.started, cpu, memory: self.memory? })
    }
}

/// Reads the text. What is of another form is not looked at; what has no value for processor or memory is left out.
pub fn parse(text: &str, now: Timestamp) -> Scrape {
    let mut node = Partial::default();
    let mut containers: HashMap<Container, Partial> = HashMap::new();
    for line in text.lines() {
        let Some((of, family, labels, value, time)) = sample(line) else { continue };
        let part = match of {
            "node" => &mut node,
            _ => {
                let label = |name| label(labels, name).map(str::to_owned);
                let (Some(namespace), Some(pod), Some(name)) =
                    (label("namespace"), label("pod"), label("container"))
                else {
                    continue;
                };
                containers.entry((namespace, pod, name)).or_default()
            }
        };
        match family {
            "cpu_usage_seconds_total" => part.cpu = Some((value, time.unwrap_or(now))),
            "memory_working_set_bytes" => part.memory = Some(value as i64),
            "start_time_seconds" => part.started = Timestamp::from_millisecond((value * 1e3) as i64).ok(),
            _ => {}
        }
    }
    let containers = containers.into_iter().filter_map(|(name, part)| Some((name, part.point()?)));
    Scrape { node: node.point(), containers: containers.collect() }
}

/// A line about a node or a container: which of them, the rest of the name, labels, value and time.
fn sample(line: &str) -> Option<(&str, &str, &str, f64, Option<Timestamp>)> {
    let (name, rest) = line.split_at(line.find(['{', ' '])?);
    let (of, family) = name.split_once('_').filter(|(of, _)| matches!(*of, "node" | "container"))?;
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => rest.split_once('}')?,
        None => ("", rest),
    };
    let mut words = rest.split_ascii_whitespace();
    let value: f64 = words.next()?.parse().ok().filter(|value: &f64| value.is_finite() && *value >= 0.0)?;
    let time = words.next().and_then(|time| Timestamp::from_millisecond(time.parse().ok()?).ok());
    Some((of, family, labels, value, time))
}

/// The value of a label; names of objects need no escapes.
fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    labels.split(',').find_map(|label| {
        let value = label.trim().strip_prefix(name)?.strip_prefix("=\"")?;
        value.strip_suffix('"')
    })
}

#[cfg(test)]
mod tests;
