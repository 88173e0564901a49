//! Requests to `metrics.k8s.io` and their answers. Pure.

use std::collections::BTreeMap;

use api::duration;
use api::quantity::Quantity;
use api::selector::{FieldSelector, LabelSelector};
use api::status::Status;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use machinery::query::Query;
use serde_json::{Value, json};

use crate::documents::{self, GROUP, GROUP_VERSION};
use crate::storage::{Storage, Usage};

/// What answers are made of.
pub struct View<'a> {
    /// What is used.
    pub storage: &'a Storage,
    /// The nodes there are.
    pub nodes: Vec<&'a ObjectMeta>,
    /// The pods there are.
    pub pods: Vec<&'a ObjectMeta>,
    /// When the question is asked.
    pub now: Timestamp,
}

/// An answer.
pub type Answer = Response<Full<Bytes>>;

/// Answers a request of somebody who may ask.
pub fn answer<B>(request: &Request<B>, view: &View<'_>) -> Answer {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return refuse(&Status::method_not_allowed());
    }
    if let Some(document) = documents::find(request.uri().path()) {
        return json_of(StatusCode::OK, document);
    }
    match view.metrics(request) {
        Ok(told) => json_of(StatusCode::OK, told.to_string()),
        Err(status) => refuse(&status),
    }
}

/// Says why there is no answer.
pub fn refuse(status: &Status) -> Answer {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    json_of(code, json!(status).to_string())
}

fn json_of(code: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = code;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

impl View<'_> {
    fn metrics<B>(&self, request: &Request<B>) -> Result<Value, Status> {
        let path = request.uri().path();
        let rest =
            path.strip_prefix("/apis/").and_then(|path| path.strip_prefix(GROUP_VERSION)).unwrap_or_default();
        let parts: Vec<&str> = rest.split('/').skip(1).collect();
        let (plural, namespace, name) = match parts[..] {
            [plural @ ("nodes" | "pods")] => (plural, None, None),
            ["nodes", name] => ("nodes", None, Some(name)),
            ["namespaces", namespace, "pods"] => ("pods", Some(namespace), None),
            ["namespaces", namespace, "pods", name] => ("pods", Some(namespace), Some(name)),
            _ => return Err(Status::no_such_resource()),
        };
        let (all, kind) = match plural {
            "nodes" => (&self.nodes, "NodeMetrics"),
            _ => (&self.pods, "PodMetrics"),
        };
        let query = Query::parse(request.uri().query());
        if query.flag("watch") {
            return Err(Status::method_not_allowed());
        }
        let labels = LabelSelector::parse(query.get("labelSelector").unwrap_or_default());
        let labels = labels.map_err(Status::bad_request)?;
        let fields = FieldSelector::parse(query.get("fieldSelector").unwrap_or_default());
        let fields = fields.map_err(Status::bad_request)?;
        let known = |field: &str| matches!(field, "metadata.name" | "metadata.namespace");
        if let Some(term) = fields.terms.iter().find(|term| !known(&term.field)) {
            return Err(Status::bad_request(format!("field label not supported: {}", term.field)));
        }
        let none = BTreeMap::new();
        let wanted = |meta: &&&ObjectMeta| {
            let (of, called) =
                (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default());
            namespace.is_none_or(|namespace| namespace == of)
                && name.is_none_or(|name| name == called)
                && labels.matches(meta.labels.as_ref().unwrap_or(&none))
                && fields.matches(|field| if field == "metadata.name" { called } else { of })
        };
        let mut found: Vec<Value> =
            all.iter().filter(wanted).filter_map(|meta| self.object(kind, meta)).collect();
        let key = |object: &Value| {
            (object["metadata"]["namespace"].to_string(), object["metadata"]["name"].to_string())
        };
        found.sort_by_cached_key(key);
        let accept =
            request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        let is_table = accept.split(',').next().is_some_and(|first| first.contains("as=Table"));
        match name {
            Some(name) if found.is_empty() => {
                let name = namespace.map_or(name.to_owned(), |namespace| format!("{namespace}/{name}"));
                Err(Status::not_found(&kind.to_lowercase(), GROUP, &name))
            }
            _ if is_table => Ok(table(&found)),
            Some(_) => Ok(found.swap_remove(0)),
            None => {
                for item in found.iter_mut().filter_map(Value::as_object_mut) {
                    // The list says it for all of them.
                    item.retain(|field, _| !["kind", "apiVersion"].contains(&field.as_str()));
                }
                let kind = format!("{kind}List");
                Ok(json!({"kind": kind, "apiVersion": GROUP_VERSION, "metadata": {}, "items": found}))
            }
        }
    }

    /// What a node or a pod uses, as an object; nothing while that is not known.
    fn object(&self, kind: &str, meta: &ObjectMeta) -> Option<Value> {
        let (namespace, name) = (meta.namespace.as_deref(), meta.name.as_deref()?);
        let (whole, containers) = match namespace {
            None => (self.storage.node(name)?, None),
            Some(namespace) => {
                let containers = self.storage.pod(namespace, name)?;
                // As upstream: the pod's time is that of the container that was read first.
                let first = containers.values().min_by_key(|usage| usage.time).copied()?;
                let shown = containers.iter().map(|(name, used)| json!({"name": name, "usage": usage(used)}));
                (first, Some(shown.collect::<Vec<_>>()))
            }
        };
        let mut object = json!({
            "kind": kind,
            "apiVersion": GROUP_VERSION,
            "metadata": {"name": name, "creationTimestamp": seconds(self.now)},
            "timestamp": seconds(whole.time),
            "window": duration::show(whole.window),
        });
        if let Some(namespace) = namespace {
            object["metadata"]["namespace"] = namespace.into();
        }
        if let Some(labels) = &meta.labels {
            object["metadata"]["labels"] = json!(labels);
        }
        match containers {
            Some(containers) => object["containers"] = containers.into(),
            None => object["usage"] = usage(&whole),
        }
        Some(object)
    }
}

fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn usage(used: &Usage) -> Value {
    let nanos = (used.cpu * 1e9).round() as i64;
    let cpu = if nanos == 0 { "0".to_owned() } else { format!("{nanos}n") };
    json!({"cpu": cpu, "memory": Quantity::bytes(used.memory / 1024 * 1024).to_string()})
}

/// The objects in rows, for `kubectl get`.
fn table(objects: &[Value]) -> Value {
    let column = |name: &str, format: &str, description: &str| json!({"name": name, "type": "string", "format": format, "description": description, "priority": 0});
    let rows = objects.iter().map(|object| {
        // A pod's use is that of its containers together.
        let parts = object["containers"].as_array().map_or(vec![object], |all| all.iter().collect());
        let sum = |what: &str| -> Quantity {
            parts.iter().filter_map(|part| part["usage"][what].as_str()?.parse::<Quantity>().ok()).sum()
        };
        let cells = json!([object["metadata"]["name"], sum("cpu").to_string(), sum("memory").to_string(), object["window"]]);
        let meta = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]});
        json!({"cells": cells, "object": meta})
    });
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {},
        "columnDefinitions": [
            column("Name", "name", "Name of the resource"),
            column("cpu", "quantity", ""),
            column("memory", "quantity", ""),
            column("Window", "duration", ""),
        ],
        "rows": rows.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests;
