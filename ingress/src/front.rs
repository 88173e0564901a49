//! The front: a request's way from a client to an endpoint, and its answer's way back.
//!
//! What an endpoint is told about the client is told by this controller alone: what the client says of itself in
//! `X-Forwarded-…` is not passed on. Every request is written anew, so that nobody but the parser at this end says where
//! it ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use http_body::Body as _;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use machinery::join::{ClientEnd, join};
use machinery::onward;
use machinery::serve::{Upgrade, Welcome, pages};
use machinery::tasks::Tasks;
use tokio::sync::watch;

use crate::endpoint::{Answer, Endpoint, Failed, Why};
use crate::metrics::Metrics;
use crate::table::Table;
use crate::upload::Upload;

/// How many endpoints are tried.
const TRIES: usize = 3;
/// What endpoints are told of the client.
static TOLD: [HeaderName; 5] = [
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-proto"),
];

/// The body of an answer: of an endpoint, or our own.
pub type Body = Either<Answer, Full<Bytes>>;

/// What serves the requests.
pub struct Front {
    /// What is served.
    pub tables: watch::Receiver<Arc<Table>>,
    /// Owner of the connections to endpoints.
    pub tasks: Tasks,
    /// What is counted.
    pub metrics: Metrics,
    /// How long nothing may move of a request before the head of its answer.
    pub patience: Duration,
}

/// A request that is not passed on.
#[derive(Debug)]
struct Refusal(StatusCode, &'static str);

/// What is known of a request's client.
#[derive(Clone)]
struct Client {
    address: HeaderValue,
    tls: bool,
}

/// Where a request wants to go.
struct Wanted {
    authority: Authority,
    /// The same, as it is passed on.
    host: HeaderValue,
    path: PathAndQuery,
}

impl Front {
    /// What serves the connections of a port.
    pub fn welcome(self: &Arc<Self>, tls: bool) -> Welcome<Body> {
        let front = Arc::clone(self);
        Arc::new(move |peer| {
            let address = api::address::canonical(peer.address.ip()).to_string();
            let address = HeaderValue::try_from(address).expect("an address is digits, letters and marks");
            let (front, client) = (Arc::clone(&front), Client { address, tls });
            Box::new(move |request| {
                let (front, client) = (Arc::clone(&front), client.clone());
                Box::pin(async move { front.serve(client, request).await })
            })
        })
    }

    async fn serve(&self, client: Client, request: Request<Incoming>) -> Response<Body> {
        let begun = Instant::now();
        let asked = tracing::enabled!(tracing::Level::DEBUG).then(|| {
            format!("{} {} {:?}", request.method(), request.uri(), request.headers().get(header::HOST))
        });
        let answer = self.pass(&client, request).await.unwrap_or_else(|Refusal(status, why)| {
            pages::answer(status, "text/plain; charset=utf-8", format!("{why}\n")).map(Either::Right)
        });
        let (code, took) = (answer.status().as_u16(), begun.elapsed());
        self.metrics.answered(code, took);
        if let Some(asked) = asked {
            tracing::debug!(client = ?client.address, asked, code, seconds = took.as_secs_f64(), "Answered");
        }
        answer
    }

    async fn pass(&self, client: &Client, mut request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
        let wanted = wanted(&request)?;
        let host = wanted.authority.host().trim_end_matches('.').to_ascii_lowercase();
        let table = Arc::clone(&self.tables.borrow());
        let backend = table.find(&host, wanted.path.path());
        let backend = backend.ok_or(Refusal(StatusCode::NOT_FOUND, "404 page not found"))?;
        let upgrade = upgrade_of(&mut request);
        let (mut parts, body) = request.into_parts();
        onward::strip(&mut parts.headers, upgrade.is_some());
        tell(&mut parts.headers, client, &wanted);
        // The server at this end has said it already.
        parts.headers.remove(header::EXPECT);
        let again = (parts.method.is_idempotent() && body.is_end_stream()).then(|| parts.clone());
        let mut request = Request::from_parts(parts, Upload::new(Some(body), self.patience));
        let mut tried = Vec::new();
        let mut outcome = Refusal(StatusCode::SERVICE_UNAVAILABLE, "no endpoint is available");
        while tried.len() < TRIES {
            let Some(endpoint) = table.next(backend, &tried) else { break };
            if !tried.is_empty() {
                self.metrics.retries.inc();
            }
            tried.push(endpoint.address);
            address(&mut request, &endpoint, &wanted)?;
            let Failed { unsent, why } = match endpoint.send(request, &self.tasks).await {
                Ok(answer) => return self.answer(answer, upgrade),
                Err(failed) => failed,
            };
            tracing::debug!(endpoint = %endpoint.address, error = machinery::logging::chain(&why), "Not answered");
            outcome = match why {
                Why::Timeout => Refusal(StatusCode::GATEWAY_TIMEOUT, "no answer in time"),
                Why::Connect(_) | Why::Http(_) => Refusal(StatusCode::BAD_GATEWAY, "no answer"),
            };
            request = match (unsent, &again, why) {
                (Some(unsent), ..) => unsent,
                // It may have been carried out, which does no harm twice.
                (None, Some(parts), Why::Http(_)) => {
                    Request::from_parts(parts.clone(), Upload::new(None, self.patience))
                }
                _ => break,
            };
        }
        Err(outcome)
    }

    /// An endpoint's answer for the client.
    fn answer(
        &self,
        mut answer: Response<Answer>,
        upgrade: Option<Upgrade>,
    ) -> Result<Response<Body>, Refusal> {
        let switched = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
        if switched {
            let Some(client) = upgrade else {
                return Err(Refusal(StatusCode::BAD_GATEWAY, "an upgrade that nobody asked for"));
            };
            let (endpoint, stop) = (hyper::upgrade::on(&mut answer), self.tasks.token());
            self.tasks.spawn_scoped("upgraded connection", async move {
                let (Ok((client, hung_up)), Ok(endpoint)) = tokio::join!(client.done(), endpoint) else {
                    return;
                };
                let over = std::future::pending();
                let joined =
                    join(TokioIo::new(client), TokioIo::new(endpoint), ClientEnd::Half, hung_up, over);
                stop.run_until_cancelled(joined).await;
            });
        }
        *answer.version_mut() = Version::HTTP_11;
        onward::strip(answer.headers_mut(), switched);
        Ok(answer.map(Either::Left))
    }
}

/// Host and path of a request.
fn wanted<B>(request: &Request<B>) -> Result<Wanted, Refusal> {
    let bad = |why| Refusal(StatusCode::BAD_REQUEST, why);
    if request.method() == Method::CONNECT {
        return Err(Refusal(StatusCode::METHOD_NOT_ALLOWED, "this is no proxy for clients"));
    }
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (host, another) = (hosts.next(), hosts.next());
    if another.is_some() {
        return Err(bad("more than one host"));
    }
    let authority = match (request.uri().authority(), host) {
        (Some(authority), _) => authority.clone(),
        (None, Some(host)) => {
            Authority::try_from(host.as_bytes()).map_err(|_| bad("the host is malformed"))?
        }
        (None, None) => return Err(bad("no host")),
    };
    if authority.as_str().contains('@') {
        return Err(bad("the host is malformed"));
    }
    let host = HeaderValue::from_str(authority.as_str()).map_err(|_| bad("the host is malformed"))?;
    let path = request.uri().path_and_query().cloned();
    Ok(Wanted { authority, host, path: path.unwrap_or_else(|| PathAndQuery::from_static("/")) })
}

/// The upgrade that a request asks for, if it may be passed on. One to HTTP/2 may not: other requests would come through
/// it unseen.
fn upgrade_of(request: &mut Request<Incoming>) -> Option<Upgrade> {
    let headers = request.headers();
    let protocol = headers.get(header::UPGRADE)?.to_str().ok()?.to_ascii_lowercase();
    let asked = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let asked =
        asked.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case("upgrade"));
    (asked && !protocol.contains("h2c")).then(|| Upgrade::of(request))
}

/// Says who the client is, and to whom it speaks; whatever it says of that itself is dropped.
fn tell(headers: &mut HeaderMap, client: &Client, wanted: &Wanted) {
    let (scheme, port) = if client.tls { ("https", "443") } else { ("http", "80") };
    let port = wanted.authority.port_u16().map_or(HeaderValue::from_static(port), HeaderValue::from);
    let (address, host) = (&client.address, wanted.host.clone());
    let told = [address.clone(), address.clone(), host, port, HeaderValue::from_static(scheme)];
    for (name, value) in TOLD.iter().zip(told) {
        headers.insert(name, value);
    }
    headers.remove(header::FORWARDED);
}

/// Addresses a request in the form that an endpoint expects.
fn address(request: &mut Request<Upload>, endpoint: &Endpoint, wanted: &Wanted) -> Result<(), Refusal> {
    let malformed = |_| Refusal(StatusCode::BAD_REQUEST, "the request is malformed");
    if endpoint.speaks_h2() {
        let mut uri = http::uri::Parts::default();
        (uri.scheme, uri.authority) = (Some(Scheme::HTTP), Some(wanted.authority.clone()));
        uri.path_and_query = Some(wanted.path.clone());
        *request.uri_mut() = Uri::from_parts(uri).map_err(malformed)?;
        *request.version_mut() = Version::HTTP_2;
        let headers = request.headers_mut();
        for name in [header::HOST, header::CONNECTION, header::UPGRADE] {
            headers.remove(name);
        }
        // Who speaks gRPC looks for it; it says that the answer may have trailers, which are passed on.
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    } else {
        *request.uri_mut() = Uri::from(wanted.path.clone());
        *request.version_mut() = Version::HTTP_11;
        request.headers_mut().insert(header::HOST, wanted.host.clone());
    }
    Ok(())
}
