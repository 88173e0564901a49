//! The server's metrics, under upstream's names.

use std::{sync::atomic::AtomicI64, time::Duration};

use http::{HeaderValue, Method, Response, StatusCode, header};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use super::priority::{Priority, Refused};
use crate::{
    registry::Table,
    request::{Target, Verb},
    response::{self, Body},
};

/// What a request is counted under.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Labels {
    verb: String,
    group: String,
    version: String,
    resource: String,
    subresource: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Counted {
    verb: String,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    code: u16,
}

impl Labels {
    /// The same, without names that are not served: nobody can make labels up and so grow their set.
    pub fn known_to(self, table: &Table) -> Self {
        let kind = table.find(&self.group, &self.version, &self.resource);
        if kind.is_some_and(|k| self.subresource.is_empty() || k.subresource(&self.subresource).is_some()) {
            return self;
        }
        Self {
            verb: self.verb,
            group: String::new(),
            version: String::new(),
            resource: String::new(),
            subresource: String::new(),
        }
    }

    /// Reads the labels off a request.
    pub fn of(method: &Method, target: &Target, watch: bool) -> Self {
        let resource = match target {
            Target::Resource(path) => Verb::of(method, path, watch).map(|verb| (verb, path.clone())),
            _ => None,
        };
        if let Some((verb, path)) = resource {
            return Self {
                verb: verb.as_str().to_ascii_uppercase(),
                group: path.group,
                version: path.version,
                resource: path.resource,
                subresource: path.subresource.unwrap_or_default(),
            };
        }
        Self {
            verb: match method.as_str() {
                known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE") => known.to_owned(),
                _ => "OTHER".to_owned(),
            },
            group: String::new(),
            version: String::new(),
            resource: String::new(),
            subresource: String::new(),
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

type Durations = Family<Labels, Histogram, fn() -> Histogram>;

/// All metrics of the server.
pub struct Metrics {
    registry: Registry,
    requests: Family<Counted, Counter>,
    durations: Durations,
    rejected: Family<Rejected, Counter>,
    executing: Family<OfLevel, Gauge>,
    waiting: Family<OfLevel, Gauge>,
    /// Watches being served.
    pub watchers: Gauge<i64, AtomicI64>,
}

fn buckets() -> Histogram {
    Histogram::new([
        0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 10.0, 30.0, 60.0,
    ])
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let requests = Family::<Counted, Counter>::default();
        let durations: Durations = Family::new_with_constructor(buckets);
        let watchers = Gauge::default();
        let rejected = Family::<Rejected, Counter>::default();
        let (executing, waiting) = (Family::<OfLevel, Gauge>::default(), Family::<OfLevel, Gauge>::default());
        registry.register(
            "apiserver_flowcontrol_rejected_requests",
            "Requests refused for want of seats",
            rejected.clone(),
        );
        registry.register(
            "apiserver_flowcontrol_current_executing_seats",
            "Seats taken by requests that are served",
            executing.clone(),
        );
        registry.register(
            "apiserver_flowcontrol_current_inqueue_requests",
            "Requests that wait for seats",
            waiting.clone(),
        );
        registry.register("apiserver_request", "Requests by verb, resource and code", requests.clone());
        registry.register(
            "apiserver_request_duration_seconds",
            "Time to answer by verb and resource",
            durations.clone(),
        );
        registry.register("apiserver_longrunning_requests", "Watches being served", watchers.clone());
        Self { registry, requests, durations, rejected, executing, waiting, watchers }
    }
}

impl Metrics {
    /// Counts an answered request.
    pub fn observe(&self, labels: Labels, code: StatusCode, took: Duration) {
        if labels.verb != "WATCH" {
            self.durations.get_or_create(&labels).observe(took.as_secs_f64());
        }
        let Labels { verb, group, version, resource, subresource } = labels;
        let counted = Counted { verb, group, version, resource, subresource, code: code.as_u16() };
        self.requests.get_or_create(&counted).inc();
    }

    /// Counts a request that was refused.
    pub fn reject(&self, refused: &Refused) {
        let Refused { schema, level, why } = refused;
        let labels =
            Rejected { flow_schema: schema.clone(), priority_level: level.clone(), reason: why.as_str() };
        self.rejected.get_or_create(&labels).inc();
    }

    /// `/metrics`.
    pub fn render(&self, priority: &Priority) -> Response<Body> {
        for (level, taken, waiting) in priority.usage() {
            let labels = OfLevel { priority_level: level };
            self.executing.get_or_create(&labels).set(taken.into());
            self.waiting.get_or_create(&labels).set(i64::try_from(waiting).unwrap_or(i64::MAX));
        }
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            return response::text(StatusCode::INTERNAL_SERVER_ERROR, "cannot render metrics\n");
        }
        let mut response = response::text(StatusCode::OK, text);
        let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{registry::Registry, request};

    #[test]
    fn nobody_makes_labels_up() {
        let table = Registry::builtin().table();
        let labels = |path: &str| {
            let labels = Labels::of(&Method::GET, &request::parse(path), false).known_to(&table);
            format!("{} {}/{}", labels.verb, labels.resource, labels.subresource)
        };
        assert_eq!(labels("/api/v1/namespaces/d/pods/x"), "GET pods/");
        assert_eq!(labels("/api/v1/namespaces/d/pods/x/status"), "GET pods/status");
        assert_eq!(labels("/api/v1/namespaces/d/pods/x/anything"), "GET /");
        assert_eq!(labels("/apis/made/up/things"), "LIST /");
        assert_eq!(labels("/healthz"), "GET /");
    }
}
