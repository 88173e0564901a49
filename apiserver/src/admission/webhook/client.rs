//! Calls to a webhook: HTTP/1.1 over TLS, on connections that are kept for the next call.
//!
//! Counterpart of upstream's `util/webhook.ClientManager`; as there, connections are not HTTP/2, which would leave all
//! calls with one of a service's pods.

use api::Message;
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::admissionregistration::v1::WebhookClientConfig;
use machinery::{serve::keep_alive, tls};
use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

use crate::{
    Api,
    body::MAX_BODY,
    streams::{
        backend::{in_gos_words, without_tls},
        proxy,
    },
};

/// How many connections wait for the next call, and how long.
const IDLE: usize = 16;
const IDLE_FOR: Duration = Duration::from_secs(60);
const HTTPS: u16 = 443;

/// A webhook's server.
pub struct Client {
    place: Place,
    /// The name that its certificate must be for, and the port.
    authority: (String, u16),
    /// The same as the URL has it.
    host: String,
    path: String,
    tls: Result<Arc<ClientConfig>, Message>,
    idle: Mutex<Vec<(Instant, Connection)>>,
}

type Connection = http1::SendRequest<Full<Bytes>>;

enum Place {
    /// Where its name leads to.
    Named,
    /// Behind a service: its namespace and name.
    Service(String, String),
}

impl Client {
    /// The server that a configuration, which was validated, names.
    pub fn new(config: &WebhookClientConfig) -> Self {
        let (place, authority, host, path) = match (&config.service, &config.url) {
            (Some(service), _) => {
                let port = service.port.and_then(|port| u16::try_from(port).ok()).unwrap_or(HTTPS);
                let name = format!("{}.{}.svc", service.name, service.namespace);
                let place = Place::Service(service.namespace.clone(), service.name.clone());
                let host = format!("{name}:{port}");
                (place, (name, port), host, service.path.clone().unwrap_or_default())
            }
            (None, url) => {
                let rest = url.as_deref().and_then(|url| url.split_once("://")).map_or("", |(_, rest)| rest);
                let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                (Place::Named, authority(host), host.to_owned(), path.to_owned())
            }
        };
        let bundle = config.ca_bundle.as_ref().map_or(&[][..], |bundle| &bundle.0);
        let tls = tls::bundle_client_config(bundle).map_err(Message::of);
        Self { place, authority, host, path: clean(&path), tls, idle: Mutex::default() }
    }

    /// Posts a review and answers what comes back.
    ///
    /// # Errors
    /// Why nothing does, in Go's words.
    pub async fn post(&self, api: &Api, body: Bytes, timeout: Duration) -> Result<Bytes, Message> {
        let query = format!("?timeout={}s", timeout.as_secs());
        let failed = |why: String| format!("Post \"https://{}{}{query}\": {why}", self.host, self.path);
        let exchanged = tokio::time::timeout(timeout, async {
            let (connection, answer) = self.send(api, &query, body).await?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, MAX_BODY).collect().await.map_err(Message::of)?;
            self.keep(connection);
            Ok((head.status, body.to_bytes()))
        });
        match exchanged.await {
            Err(_) => Err(failed("context deadline exceeded".into()).into()),
            Ok(Err(why)) => Err(failed(why).into()),
            Ok(Ok((status, body))) if status.is_success() => Ok(body),
            Ok(Ok((status, body))) => Err(refusal(status, &body).into()),
        }
    }

    /// Sends a request on a connection that is there, or a new one.
    async fn send(
        &self,
        api: &Api,
        query: &str,
        body: Bytes,
    ) -> Result<(Connection, Response<Incoming>), Message> {
        let mut request = Request::post(format!("{}{query}", self.path))
            .header(header::HOST, &self.host)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, */*")
            .header(header::USER_AGENT, "kube-apiserver-admission")
            .body(Full::new(body))
            .map_err(Message::of)?;
        while let Some(mut kept) = self.kept() {
            if kept.ready().await.is_err() {
                continue;
            }
            match kept.try_send_request(request).await {
                Ok(answer) => return Ok((kept, answer)),
                // The other side has closed it before it saw the request.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(in_gos_words_of_http(&error.into_error()).into()),
                },
            }
        }
        let mut fresh = self.connect(api).await?;
        let answer = fresh.send_request(request).await.map_err(|why| in_gos_words_of_http(&why))?;
        Ok((fresh, answer))
    }

    fn kept(&self) -> Option<Connection> {
        let mut idle = self.idle.lock();
        idle.retain(|(since, connection)| since.elapsed() < IDLE_FOR && !connection.is_closed());
        idle.pop().map(|(_, connection)| connection)
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.idle.lock();
        if idle.len() < IDLE {
            idle.push((Instant::now(), connection));
        }
    }

    async fn connect(&self, api: &Api) -> Result<Connection, Message> {
        let tls = self.tls.clone()?;
        let (host, port) = &self.authority;
        let name = ServerName::try_from(host.clone()).map_err(Message::of)?;
        let addresses = match &self.place {
            Place::Service(namespace, name) => {
                let (address, port) = proxy::endpoint(api, namespace, name, &port.to_string()).map_err(
                    |refusal| match refusal.code {
                        404 => format!("service {name:?} not found"),
                        _ => refusal.message,
                    },
                )?;
                vec![SocketAddr::new(address.ip(), port)]
            }
            Place::Named => {
                let found = lookup_host((host.as_str(), *port)).await;
                found.map_err(|_| format!("dial tcp: lookup {host}: no such host"))?.collect()
            }
        };
        let shown = addresses.first().map(SocketAddr::to_string).unwrap_or_default();
        let dialled = TcpStream::connect(&addresses[..]).await;
        let stream = dialled.map_err(|why| format!("dial tcp {shown}: {}", in_gos_words(&why)))?;
        let ready = stream.set_nodelay(true).map_err(Message::of);
        ready.and_then(|()| keep_alive(&stream).map_err(Message::of))?;
        let stream =
            TlsConnector::from(tls).connect(name, stream).await.map_err(|why| without_tls(&why, host))?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(Message::of)?;
        let stop = api.tasks.token();
        api.tasks.spawn_scoped("connection to a webhook", async move {
            if let Some(Err(error)) = stop.run_until_cancelled(connection).await {
                tracing::debug!(%error, "connection to a webhook ended");
            }
        });
        Ok(sender)
    }
}

/// A path in its shortest form, as Go's `path.Join` makes it: tools configure `//path`, which servers redirect.
fn clean(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Host and port of a URL's authority.
fn authority(text: &str) -> (String, u16) {
    let bare = |host: &str| host.trim_matches(['[', ']']).to_owned();
    match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            (bare(host), port.parse().unwrap_or(HTTPS))
        }
        _ => (bare(text), HTTPS),
    }
}

fn in_gos_words_of_http(error: &hyper::Error) -> String {
    if error.is_incomplete_message() || error.is_closed() { "EOF".into() } else { error.to_string() }
}

/// What a client makes of an answer that is none.
fn refusal(status: StatusCode, body: &[u8]) -> String {
    let said = String::from_utf8_lossy(body);
    let told = serde_json::from_slice::<api::status::Status>(body);
    if let Some(told) = told.ok().filter(|told| told.kind == "Status" && !told.message.is_empty()) {
        return told.message;
    }
    match status.as_u16() {
        401 => "the server has asked for the client to provide credentials".into(),
        403 => said.trim().to_owned(),
        404 => "the server could not find the requested resource".into(),
        405 => "the server does not allow this method on the requested resource".into(),
        503 => "the server is currently unable to handle the request".into(),
        504 => "the server was unable to return a response in the time allotted, but may still be processing the request".into(),
        500.. => format!("an error on the server ({:?}) has prevented the request from succeeding", said.trim()),
        code => format!("the server responded with the status code {code} but did not return more information"),
    }
}

#[cfg(test)]
mod tests;
