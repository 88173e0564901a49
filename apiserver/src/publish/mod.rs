//! What the server tells about itself: discovery, OpenAPI, version; and how objects are shown in tables.

pub mod discovery;
pub mod openapi;
pub mod table;

use std::sync::Arc;

use api::{kind::Kind, status::Status};
use http::{HeaderValue, Request, Response, StatusCode, header};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    Api,
    request::Discovery,
    response::{self, Body},
};

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// `/version`.
pub fn version() -> Value {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    json!({
        "major": "1",
        "minor": "36",
        "emulationMajor": "1",
        "emulationMinor": "36",
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "35",
        "gitVersion": api::VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{arch}", std::env::consts::OS),
    })
}

/// `/`: the paths there are.
pub fn root_paths(api: &Arc<Api>) -> Value {
    let fixed = [
        "/api",
        "/api/v1",
        "/apis",
        "/healthz",
        "/livez",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/readyz",
        "/version",
    ];
    let mut paths: Vec<String> = fixed.map(str::to_owned).to_vec();
    for kind in api.registry.table().kinds().iter().filter(|k| !k.group.is_empty()) {
        paths.push(format!("/apis/{}", kind.group));
        paths.push(format!("/apis/{}/{}", kind.group, kind.version));
    }
    paths.sort();
    paths.dedup();
    json!({"paths": paths})
}

/// Answers a discovery request in the form its `Accept` header asks for.
pub fn discovery<B>(api: &Arc<Api>, wanted: &Discovery, request: &Request<B>) -> Response<Body> {
    let table = api.registry.table();
    let kinds = table.kinds();
    let document = match wanted {
        Discovery::CoreVersions | Discovery::Groups if wants_aggregated(request) => {
            let document = discovery::aggregated(kinds, *wanted == Discovery::CoreVersions);
            return with_etag(request, AGGREGATED, document.to_string().into_bytes());
        }
        Discovery::CoreVersions => {
            let host = api.config.advertise.map_or_else(|| "127.0.0.1".to_owned(), |a| a.to_string());
            Some(discovery::core_versions(&format!("{host}:{}", api.port())))
        }
        Discovery::Groups => Some(discovery::groups(kinds)),
        Discovery::Group(group) => discovery::group(kinds, group),
        Discovery::Resources(group, version) => discovery::resources(kinds, group, version),
    };
    match document {
        Some(document) => response::json(StatusCode::OK, &document),
        None => crate::http::not_a_path(),
    }
}

/// What kubectl asks `/openapi/v2` for when version 3 does not know a kind.
const OPENAPI_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
/// A `gnostic` document whose only field is `swagger: "2.0"`. Whoever reads this form is after a kind that
/// version 3 has not shown it; it finds none here either and says so in its own words.
const NAMELESS_DOCUMENT: &[u8] = b"\x0a\x032.0";

/// Answers a request below `/openapi`.
pub fn openapi<B>(api: &Arc<Api>, path: &str, request: &Request<B>) -> Response<Body> {
    let table = api.registry.table();
    let kinds = table.kinds();
    let document = match path.trim_end_matches('/') {
        "/openapi/v2" => {
            let accept = request.headers().get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or("*/*");
            if accept.contains("proto-openapi.spec.v2") {
                return with_etag(request, OPENAPI_PROTOBUF, NAMELESS_DOCUMENT.to_vec());
            }
            if !accept.contains("json") && !accept.contains("*/*") {
                let only = "only the following media types are accepted: application/json";
                return response::status(&Status::not_acceptable(only));
            }
            Some(openapi::v2(kinds))
        }
        "/openapi/v3" => Some(openapi::index(kinds)),
        other => {
            let name = other.strip_prefix("/openapi/v3/").unwrap_or("");
            return open_api_document(kinds, name, request);
        }
    };
    match document {
        Some(document) => with_etag(request, "application/json", document.to_string().into_bytes()),
        None => crate::http::not_a_path(),
    }
}

/// One OpenAPI v3 document. Under a URL with its hash it never changes; a former hash leads to the present one.
fn open_api_document<B>(kinds: &[Arc<Kind>], name: &str, request: &Request<B>) -> Response<Body> {
    let Some(hash) = openapi::document_hash(kinds, name) else { return crate::http::not_a_path() };
    let asked =
        request.uri().query().into_iter().flat_map(|q| q.split('&')).find_map(|p| p.strip_prefix("hash="));
    if let Some(asked) = asked
        && asked != hash
        && let Ok(url) = HeaderValue::try_from(format!("/openapi/v3/{name}?hash={hash}"))
    {
        let mut response = Response::new(response::full(Vec::new()));
        *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
        response.headers_mut().insert(header::LOCATION, url);
        return response;
    }
    let Some(document) = openapi::v3(kinds, name) else { return crate::http::not_a_path() };
    let mut response = with_etag(request, "application/json", document.to_string().into_bytes());
    if asked.is_some() {
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
    }
    response
}

fn wants_aggregated<B>(request: &Request<B>) -> bool {
    let accept = request.headers().get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or("");
    // The first form we know wins; clients list the aggregated ones first.
    accept.split(',').any(|media| {
        let mut parts = media.split(';').map(str::trim);
        parts.next() == Some("application/json")
            && ["g=apidiscovery.k8s.io", "v=v2", "as=APIGroupDiscoveryList"].iter().all(|p| media.contains(p))
    })
}

/// A document with an ETag; 304 when the client has it already.
pub fn with_etag<B>(request: &Request<B>, media: &'static str, bytes: Vec<u8>) -> Response<Body> {
    let hash = Sha256::digest(&bytes).iter().map(|b| format!("{b:02X}")).collect::<String>();
    let etag = format!("\"{hash}\"");
    let known = request.headers().get(header::IF_NONE_MATCH).is_some_and(|v| v.as_bytes() == etag.as_bytes());
    let mut response = if known {
        let mut response = Response::new(response::full(Vec::new()));
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        response::json_bytes(StatusCode::OK, bytes)
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(header::ETAG, etag);
    }
    response
}
