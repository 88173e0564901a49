//! What the server tells about itself: discovery, OpenAPI, version; and how objects are shown in tables.

pub mod discovery;
pub mod documents;
mod gnostic;
pub mod openapi;
pub mod table;

use std::sync::Arc;

use api::status::Status;
use http::{HeaderValue, Request, Response, StatusCode, header};
use machinery::query::Query;
use serde_json::{Value, json};

use documents::Document;

use crate::{
    Api,
    registry::Table,
    request::Discovery,
    response::{self, Body},
};

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// `/version`. It names no commit and no time of the build: with those, each commit would build this crate and all
/// that stand on it again, and one source would make different programs. The date is the one that Kubernetes built
/// without them has; `gitTreeState` is empty, as whether the sources were clean is not known either.
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
        "gitTreeState": "",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{arch}", std::env::consts::OS),
    })
}

/// `/`: the paths there are.
pub fn root_paths(api: &Arc<Api>) -> Value {
    let fixed = [
        "/.well-known/openid-configuration",
        "/api",
        "/api/v1",
        "/apis",
        "/healthz",
        "/livez",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/openid/v1/jwks",
        "/readyz",
        "/version",
    ];
    let mut paths: Vec<String> = fixed.map(str::to_owned).to_vec();
    let table = api.table();
    let own = table.kinds().iter().filter(|k| !k.group.is_empty()).map(|k| (&*k.group, &*k.version));
    for (group, version) in own.chain(table.remotes().map(|r| (&*r.group, &*r.version))) {
        paths.push(format!("/apis/{group}"));
        paths.push(format!("/apis/{group}/{version}"));
    }
    paths.sort();
    paths.dedup();
    json!({"paths": paths})
}

/// Answers a discovery request in the form its `Accept` header asks for.
///
/// # Errors
/// 500 when the document cannot be made.
pub async fn discovery<B>(
    api: &Arc<Api>,
    wanted: &Discovery,
    request: &Request<B>,
) -> Result<Response<Body>, Status> {
    let table = api.table();
    let aggregated = wants_aggregated(request);
    let name = match wanted {
        Discovery::CoreVersions if aggregated => "aggregated /api".to_owned(),
        Discovery::Groups if aggregated => "aggregated /apis".to_owned(),
        Discovery::CoreVersions => "/api".to_owned(),
        Discovery::Groups => "/apis".to_owned(),
        Discovery::Group(group) => format!("/apis/{group}"),
        Discovery::Resources(group, version) => format!("resources of {group}/{version}"),
    };
    let (wanted, address) = (wanted.clone(), server_address(api));
    let make = move |table: &Table| {
        let (media, document) = match &wanted {
            Discovery::CoreVersions | Discovery::Groups if aggregated => {
                (AGGREGATED, discovery::aggregated(table, wanted == Discovery::CoreVersions))
            }
            Discovery::CoreVersions => (JSON, discovery::core_versions(&address)),
            Discovery::Groups => (JSON, discovery::groups(table)),
            Discovery::Group(group) => (JSON, discovery::group(table, group)?),
            Discovery::Resources(group, version) => (JSON, discovery::resources(table, group, version)?),
        };
        Some(Document::new(media, document.to_string().into_bytes()))
    };
    Ok(answer(api.documents.get(&table, &name, make).await?, request))
}

/// What others check our service account tokens by: `/.well-known/openid-configuration` and `/openid/v1/jwks`.
/// `None` when this server issues none.
pub fn issuer(api: &Arc<Api>, path: &str) -> Option<Response<Body>> {
    let issuer = api.auth.issuer()?;
    let (document, media) = if path == "/openid/v1/jwks" {
        (issuer.key_set(), "application/jwk-set+json")
    } else {
        let document = json!({
            "issuer": issuer.issuer(),
            "jwks_uri": format!("https://{}/openid/v1/jwks", server_address(api)),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": issuer.algorithms(),
        });
        (document, JSON)
    };
    let mut response = response::json(StatusCode::OK, &document);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    Some(response)
}

/// The address that `/api` tells clients.
fn server_address(api: &Arc<Api>) -> String {
    let host = api.config.advertise.map_or_else(|| "127.0.0.1".to_owned(), |a| a.to_string());
    format!("{host}:{}", api.port())
}

fn answer<B>(document: Option<Arc<Document>>, request: &Request<B>) -> Response<Body> {
    document.map_or_else(response::not_a_path, |document| document.answer(request))
}

const JSON: &str = "application/json";
/// The protobuf form of `/openapi/v2`, as the answer names it; requests write `v2@v1.0`.
const OPENAPI_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// Answers a request below `/openapi`.
///
/// # Errors
/// 500 when the document cannot be made.
pub async fn openapi<B>(api: &Arc<Api>, path: &str, request: &Request<B>) -> Result<Response<Body>, Status> {
    let table = api.table();
    let document = match path.trim_end_matches('/') {
        "/openapi/v2" if accepts(request, JSON) => {
            let make = |table: &Table| Some(Document::new(JSON, openapi::v2(table).to_string().into_bytes()));
            api.documents.get(&table, "/openapi/v2", make).await?
        }
        "/openapi/v2" if accepts(request, OPENAPI_PROTOBUF) => {
            let make =
                |table: &Table| Some(Document::new(OPENAPI_PROTOBUF, gnostic::encode(&openapi::v2(table))));
            api.documents.get(&table, "protobuf /openapi/v2", make).await?
        }
        "/openapi/v2" => return Err(not_acceptable(&[JSON, OPENAPI_PROTOBUF])),
        _ if !accepts(request, JSON) => return Err(not_acceptable(&[JSON])),
        "/openapi/v3" => {
            let versions = api.documents.versions(&table).await?;
            let make = move |table: &Table| {
                let own = versions.iter().map(|(name, v)| (name.as_str(), v.hash()));
                let index = openapi::index(own, table.remotes());
                Some(Document::new(JSON, index.to_string().into_bytes()))
            };
            api.documents.get(&table, "/openapi/v3", make).await?
        }
        other => {
            let name = other.strip_prefix("/openapi/v3/").unwrap_or("");
            return openapi_v3(api, name, request).await;
        }
    };
    Ok(answer(document, request))
}

/// Whether a request takes an answer of this media type.
fn accepts<B>(request: &Request<B>, wanted: &str) -> bool {
    let accept = request.headers().get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or("*/*");
    accept.split(',').any(|media| match media.split(';').next().unwrap_or("").trim() {
        "" | "*/*" | "application/*" => true,
        "application/com.github.proto-openapi.spec.v2@v1.0+protobuf" => wanted == OPENAPI_PROTOBUF,
        media => media == wanted,
    })
}

fn not_acceptable(served: &[&str]) -> Status {
    let only = format!("only the following media types are accepted: {}", served.join(", "));
    Status::not_acceptable(only)
}

/// One OpenAPI v3 document. Under a URL with its hash it never changes; a former hash leads to the present one.
async fn openapi_v3<B>(api: &Arc<Api>, name: &str, request: &Request<B>) -> Result<Response<Body>, Status> {
    let versions = api.documents.versions(&api.table()).await?;
    let Some(version) = versions.get(name) else { return Ok(response::not_a_path()) };
    let query = Query::parse(request.uri().query());
    let asked = query.get("hash");
    if let Some(asked) = asked
        && asked != version.hash()
        && let Ok(url) = HeaderValue::try_from(format!("/openapi/v3/{name}?hash={}", version.hash()))
    {
        let mut response = Response::new(response::full(Vec::new()));
        *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
        response.headers_mut().insert(header::LOCATION, url);
        return Ok(response);
    }
    let mut response = api.documents.of_version(version).await?.answer(request);
    if asked.is_some() {
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
    }
    Ok(response)
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
