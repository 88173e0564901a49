//! The server's metrics, under upstream's names.

use std::{sync::atomic::AtomicI64, time::Duration};

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::{
    request::{self, Target, Verb},
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
    /// Reads the labels off a request. Resources that are not served are counted without a name, so that
    /// nobody can make labels up.
    pub fn of<B>(request: &Request<B>) -> Self {
        let watch = request.uri().query().is_some_and(|q| q.contains("watch=true") || q.contains("watch=1"));
        let other = |method: &Method| Self {
            verb: match method.as_str() {
                known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE") => known.to_owned(),
                _ => "OTHER".to_owned(),
            },
            group: String::new(),
            version: String::new(),
            resource: String::new(),
            subresource: String::new(),
        };
        match request::parse(request.uri().path()) {
            Target::Resource(path) => {
                let Some(verb) = Verb::of(request.method(), &path, watch) else {
                    return other(request.method());
                };
                Self {
                    verb: verb.as_str().to_ascii_uppercase(),
                    group: path.group,
                    version: path.version,
                    resource: path.resource,
                    subresource: path.subresource.unwrap_or_default(),
                }
            }
            _ => other(request.method()),
        }
    }
}

type Durations = Family<Labels, Histogram, fn() -> Histogram>;

/// All metrics of the server.
pub struct Metrics {
    registry: Registry,
    requests: Family<Counted, Counter>,
    durations: Durations,
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
        registry.register("apiserver_request", "Requests by verb, resource and code", requests.clone());
        registry.register(
            "apiserver_request_duration_seconds",
            "Time to answer by verb and resource",
            durations.clone(),
        );
        registry.register("apiserver_longrunning_requests", "Watches being served", watchers.clone());
        Self { registry, requests, durations, watchers }
    }
}

impl Metrics {
    /// Counts an answered request.
    pub fn observe(&self, labels: Labels, code: StatusCode, took: Duration) {
        // Unknown resources would let callers grow the label set without bound.
        let looked_up = !matches!(
            code,
            StatusCode::NOT_FOUND
                | StatusCode::UNAUTHORIZED
                | StatusCode::URI_TOO_LONG
                | StatusCode::METHOD_NOT_ALLOWED
        );
        let known = looked_up || labels.resource.is_empty();
        let labels = if known {
            labels
        } else {
            Labels {
                resource: String::new(),
                group: String::new(),
                version: String::new(),
                subresource: String::new(),
                verb: labels.verb,
            }
        };
        if labels.verb != "WATCH" {
            self.durations.get_or_create(&labels).observe(took.as_secs_f64());
        }
        let Labels { verb, group, version, resource, subresource } = labels;
        let counted = Counted { verb, group, version, resource, subresource, code: code.as_u16() };
        self.requests.get_or_create(&counted).inc();
    }

    /// `/metrics`.
    pub fn render(&self) -> Response<Body> {
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
