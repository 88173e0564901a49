//! The server's metrics, under upstream's names.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use machinery::{
    metrics::{CONTENT_TYPE, Registry, text},
    serve::Holding,
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
};

use super::priority::{Priority, Refused};
use crate::{
    audit::{self, Trail},
    registry::Table,
    request::{ResourcePath, Target, Verb},
    response::{self, Body},
    store::Transformations,
};

/// What a request is counted under.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Labels {
    verb: String,
    group: String,
    version: String,
    resource: String,
    subresource: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Counted {
    #[prometheus(flatten)]
    labels: Labels,
    code: u16,
}

impl Labels {
    /// The same, without names that are not served: nobody can make labels up and so grow their set.
    pub fn known_to(self, table: &Table) -> Self {
        let kind = table.find(&self.group, &self.version, &self.resource);
        if kind.is_some_and(|k| self.subresource.is_empty() || k.subresource(&self.subresource).is_some()) {
            return self;
        }
        Self { verb: self.verb, ..Self::default() }
    }

    fn of_resource(verb: Verb, path: &ResourcePath) -> Self {
        Self {
            verb: verb.as_str().to_ascii_uppercase(),
            group: path.group.clone(),
            version: path.version.clone(),
            resource: path.resource.clone(),
            subresource: path.subresource.clone().unwrap_or_default(),
        }
    }

    /// Reads the labels off a request.
    pub fn of(method: &Method, target: &Target, watch: bool) -> Self {
        let resource = match target {
            Target::Resource(path) => Verb::of(method, path, watch).map(|verb| (verb, path)),
            _ => None,
        };
        if let Some((verb, path)) = resource {
            return Self::of_resource(verb, path);
        }
        Self {
            verb: match method.as_str() {
                known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE") => known.to_owned(),
                _ => "OTHER".to_owned(),
            },
            ..Self::default()
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Rejected {
    flow_schema: String,
    priority_level: String,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfLevel {
    priority_level: String,
}

/// One pass over the steps of admission.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Admission {
    r#type: &'static str,
    operation: &'static str,
    rejected: &'static str,
}

machinery::metrics! {
    struct Counters {
        requests: Family<Counted, Counter> = "apiserver_request", "Requests by verb, resource and code";
        durations: Family<Labels, Histogram> = "apiserver_request_duration_seconds",
            "Time to answer by verb and resource", Family::new_with_constructor(buckets);
        admissions: Family<Admission, Histogram> = "apiserver_admission_step_admission_duration_seconds",
            "Time in all steps of admission that complete objects (admit), or look at them (validate)",
            Family::new_with_constructor(|| Histogram::new([0.005, 0.025, 0.1, 0.5, 1.0, 2.5]));
        rejected: Family<Rejected, Counter> = "apiserver_flowcontrol_rejected_requests",
            "Requests refused for want of seats";
        running: Family<Labels, Gauge> = "apiserver_longrunning_requests",
            "Watches and other streams being served";
        certificates: Histogram = "apiserver_client_certificate_expiration_seconds",
            "Distribution of the remaining lifetime on the certificate used to authenticate a request.",
            Histogram::new(LIVES);
    }
}

/// All metrics of the server.
pub struct Metrics {
    registry: Registry,
    counters: Counters,
    /// Those of the audit log.
    pub audit: audit::Counters,
    /// Those of encryption.
    pub transformations: Transformations,
}

/// A watch or another stream that is being served; it counts as such until all its clones are dropped.
#[derive(Clone)]
pub struct Running {
    _counted: Arc<CountedRunning>,
}

struct CountedRunning {
    gauge: Gauge,
    /// The end of the stream is that of the request.
    _trail: Trail,
}

impl Drop for CountedRunning {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

impl Running {
    /// The response, whose body's end is that of the stream.
    pub fn until_end_of(self, response: Response<Body>) -> Response<Body> {
        response.map(|body| Holding::new(body, self).boxed_unsync())
    }
}

fn buckets() -> Histogram {
    Histogram::new([
        0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 10.0, 30.0, 60.0,
    ])
}

/// How long certificates may still hold, in seconds: over, minutes, hours, days, a month to a year.
const LIVES: [f64; 14] = [
    0.0, 1800.0, 3600.0, 7200.0, 21600.0, 43200.0, 86400.0, 172800.0, 345600.0, 604800.0, 2592000.0,
    7776000.0, 15552000.0, 31104000.0,
];

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = machinery::metrics::registry();
        let counters = Counters::new(&mut registry);
        let audit = audit::Counters::new(&mut registry);
        let transformations = Transformations::new(&mut registry);
        Self { registry, counters, audit, transformations }
    }
}

impl Metrics {
    /// Counts an answered request.
    pub fn observe(&self, labels: Labels, code: StatusCode, took: Duration) {
        if labels.verb != "WATCH" {
            self.counters.durations.get_or_create(&labels).observe(took.as_secs_f64());
        }
        self.counters.requests.get_or_create(&Counted { labels, code: code.as_u16() }).inc();
    }

    /// Counts a client certificate, by its end.
    pub fn shown(&self, end: Option<Timestamp>) {
        let left = end.map(|end| end.duration_since(machinery::clock::now()));
        left.into_iter().for_each(|left| self.counters.certificates.observe(left.as_secs_f64()));
    }

    /// Counts a pass over the steps of admission.
    pub fn admitted(&self, pass: &'static str, operation: &'static str, refused: bool, took: Duration) {
        let rejected = if refused { "true" } else { "false" };
        let labels = Admission { r#type: pass, operation, rejected };
        self.counters.admissions.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// Counts a request that was refused.
    pub fn reject(&self, refused: &Refused) {
        let Refused { schema, level, why } = refused;
        let labels =
            Rejected { flow_schema: schema.clone(), priority_level: level.clone(), reason: why.as_str() };
        self.counters.rejected.get_or_create(&labels).inc();
    }

    /// Counts a request that lasts.
    pub fn long_running(&self, verb: Verb, path: &ResourcePath, trail: Trail) -> Running {
        let gauge = self.counters.running.get_or_create(&Labels::of_resource(verb, path)).clone();
        gauge.inc();
        Running { _counted: Arc::new(CountedRunning { gauge, _trail: trail }) }
    }

    /// `/metrics`.
    pub fn render(&self, priority: &Priority) -> Response<Body> {
        let text = text(&self.registry) + &text(&of_levels(priority));
        let mut response = response::text(StatusCode::OK, text);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        response
    }
}

/// What goes on in the priority levels that there are at this moment.
fn of_levels(priority: &Priority) -> Registry {
    let (executing, waiting) = (Family::<OfLevel, Gauge>::default(), Family::<OfLevel, Gauge>::default());
    for (level, taken, waits) in priority.usage() {
        let labels = OfLevel { priority_level: level };
        executing.get_or_create(&labels).set(taken.into());
        waiting.get_or_create(&labels).set(i64::try_from(waits).unwrap_or(i64::MAX));
    }
    let mut registry = Registry::default();
    registry.register(
        "apiserver_flowcontrol_current_executing_seats",
        "Seats taken by requests that are served",
        executing,
    );
    registry.register(
        "apiserver_flowcontrol_current_inqueue_requests",
        "Requests that wait for seats",
        waiting,
    );
    registry
}

#[cfg(test)]
mod tests;
