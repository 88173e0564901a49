//! Which path means what, and who may ask.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use k8s_openapi::List;
use k8s_openapi::api::core::v1::Pod;
use machinery::metrics::Registry;
use machinery::serve::access::Access;
use machinery::serve::{self, Health, Peer};
use machinery::tasks::Tasks;
use proto::cri::{AttachRequest, ExecRequest, PortForwardRequest};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::channels::{MOST_PORTS, Purpose, Streams};
use super::logs::{self, Options};
use super::session::{self, Wish};
use super::{Backend, Query, Refusal, access};

/// Body of an answer, whole or as it comes.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

pub(super) fn empty() -> Body {
    Empty::new().boxed_unsync()
}

/// How many parts of a log may wait for a slow reader.
const PARTS: usize = 8;
/// How often the runtime is asked whether a container that somebody is attached to still runs.
const ASK_RUNTIME: Duration = Duration::from_millis(500);
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

pub(super) struct Server {
    pub access: Access,
    pub node: String,
    pub configz: Value,
    pub backend: Arc<dyn Backend>,
    pub registry: Registry,
    pub health: Health,
    pub tasks: Tasks,
}

impl Server {
    pub(super) async fn answer(&self, peer: &Peer, request: Request<Incoming>) -> Response<Body> {
        let target = format!("{} {}", request.method(), request.uri().path());
        let (method, path) = (request.method(), request.uri().path());
        let checked = access::check(&self.access, &self.node, peer, method, path, request.headers()).await;
        let answer = match checked {
            Err(refusal) => Err(refusal),
            Ok(()) => self.route(request).await,
        };
        answer.unwrap_or_else(|refusal| {
            tracing::debug!(target, status = refusal.status.as_u16(), words = refusal.words, "Refused");
            refused(&refusal)
        })
    }

    async fn route(&self, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
        let path = request.uri().path().to_owned();
        let query = Query::parse(request.uri().query());
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let reads = [Method::GET, Method::HEAD].contains(request.method());
        match parts[..] {
            ["containerLogs", namespace, pod, container] if reads => {
                self.log(namespace, pod, container, &query).await
            }
            // Tools that know the pod's uid put it before the container's name.
            ["exec", namespace, pod, container] | ["exec", namespace, pod, _, container] => {
                self.exec(request, namespace, pod, container, &query).await
            }
            ["attach", namespace, pod, container] | ["attach", namespace, pod, _, container] => {
                self.attach(request, namespace, pod, container, &query).await
            }
            ["portForward", namespace, pod] | ["portForward", namespace, pod, _] => {
                self.port_forward(request, namespace, pod, &query).await
            }
            ["pods"] if reads => self.pods(),
            ["configz"] if reads => Ok(whole(StatusCode::OK, JSON, self.configz.to_string().into())),
            ["stats", "summary"] if reads => self.summary(query.flag("only_cpu_and_memory")).await,
            ["metrics", "resource"] if reads => self.resource_metrics().await,
            _ => Ok(serve::respond(&self.registry, &self.health, &request).map(BodyExt::boxed_unsync)),
        }
    }

    fn pod(&self, namespace: &str, name: &str) -> Result<Arc<Pod>, Refusal> {
        let not_there = || Refusal::new(StatusCode::NOT_FOUND, format!("pod {name:?} not found\n"));
        self.backend.pod(namespace, name).ok_or_else(not_there)
    }

    fn pods(&self) -> Result<Response<Body>, Refusal> {
        let items = self.backend.pods().iter().map(|pod| (**pod).clone()).collect();
        let list = List::<Pod> { items, ..List::default() };
        let body = serde_json::to_vec(&list).map_err(|error| Refusal::internal(error.to_string()))?;
        Ok(whole(StatusCode::OK, JSON, body.into()))
    }

    async fn summary(&self, only_cpu_and_memory: bool) -> Result<Response<Body>, Refusal> {
        let summary = self.backend.stats(!only_cpu_and_memory).await.map_err(Refusal::internal)?;
        let body = serde_json::to_vec(&summary).map_err(|error| Refusal::internal(error.to_string()))?;
        Ok(whole(StatusCode::OK, JSON, body.into()))
    }

    async fn resource_metrics(&self) -> Result<Response<Body>, Refusal> {
        let summary = self.backend.stats(false).await.map_err(Refusal::internal)?;
        let content_type = HeaderValue::from_static(machinery::metrics::CONTENT_TYPE);
        Ok(whole(StatusCode::OK, content_type, crate::stats::render(&summary).into()))
    }

    async fn log(
        &self,
        namespace: &str,
        name: &str,
        container: &str,
        query: &Query,
    ) -> Result<Response<Body>, Refusal> {
        let pod = self.pod(namespace, name)?;
        let options = Options::parse(query, machinery::clock::now())?;
        let log = logs::find(&*self.backend, &pod, container, options).await?;
        let (to, parts) = mpsc::channel(PARTS);
        let (backend, stop) = (Arc::clone(&self.backend), self.tasks.token());
        self.tasks.spawn_scoped("log", async move {
            stop.run_until_cancelled(logs::show(backend, log, to)).await;
        });
        let parts = ReceiverStream::new(parts).map(|part| Ok(Frame::data(part)));
        let mut response = Response::new(StreamBody::new(parts).boxed_unsync());
        response.headers_mut().insert(header::CONTENT_TYPE, PLAIN);
        Ok(response)
    }

    /// The id of a container that runs.
    async fn running(&self, namespace: &str, name: &str, container: &str) -> Result<String, Refusal> {
        let pod = self.pod(namespace, name)?;
        let found = if logs::has_container(&pod, container) {
            self.backend.running(&pod, container).await.map_err(Refusal::internal)?
        } else {
            None
        };
        found.ok_or_else(|| Refusal::internal(format!("container not found ({container:?})")))
    }

    async fn exec(
        &self,
        request: Request<Incoming>,
        namespace: &str,
        name: &str,
        container: &str,
        query: &Query,
    ) -> Result<Response<Body>, Refusal> {
        let streams = streams(query)?;
        let wish = Wish::of_command(request.headers())?;
        let wanted = ExecRequest {
            container_id: self.running(namespace, name, container).await?,
            cmd: query.all("command"),
            tty: streams.tty,
            stdin: streams.stdin,
            stdout: streams.stdout,
            stderr: streams.stderr && !streams.tty,
        };
        let url = self.backend.exec(wanted).await.map_err(Refusal::internal)?;
        let purpose = Purpose::Command(streams);
        session::begin(&self.tasks, request, wish, purpose, &url, pending()).await
    }

    async fn attach(
        &self,
        request: Request<Incoming>,
        namespace: &str,
        name: &str,
        container: &str,
        query: &Query,
    ) -> Result<Response<Body>, Refusal> {
        let mut streams = streams(query)?;
        let wish = Wish::of_command(request.headers())?;
        let id = self.running(namespace, name, container).await?;
        let pod = self.pod(namespace, name)?;
        // Whether there is a terminal was settled when the container started; the runtime would
        // close it, or wait for errors that never come, if it were told otherwise.
        streams.stderr &= !streams.tty;
        streams.tty = logs::has_terminal(&pod, container);
        let wanted = AttachRequest {
            container_id: id.clone(),
            tty: streams.tty,
            stdin: streams.stdin,
            stdout: streams.stdout,
            stderr: streams.stderr && !streams.tty,
        };
        let url = self.backend.attach(wanted).await.map_err(Refusal::internal)?;
        let over = ended(Arc::clone(&self.backend), pod, container.to_owned(), id);
        session::begin(&self.tasks, request, wish, Purpose::Command(streams), &url, over).await
    }

    async fn port_forward(
        &self,
        request: Request<Incoming>,
        namespace: &str,
        name: &str,
        query: &Query,
    ) -> Result<Response<Body>, Refusal> {
        let wish = Wish::of_ports(request.headers())?;
        let ports = ports(query)?;
        if matches!(wish, Wish::Channels { .. }) && !(1..=MOST_PORTS).contains(&ports.len()) {
            let words = match ports.is_empty() {
                true => "query parameter \"port\" is required".to_owned(),
                false => format!("at most {MOST_PORTS} ports can be forwarded at once"),
            };
            return Err(Refusal::new(StatusCode::BAD_REQUEST, words));
        }
        let pod = self.pod(namespace, name)?;
        let sandbox = self.backend.sandbox(&pod).await.map_err(Refusal::internal)?;
        let sandbox = sandbox.ok_or_else(|| Refusal::internal(format!("pod not found ({name:?})")))?;
        let port = ports.iter().copied().map(i32::from).collect();
        let wanted = PortForwardRequest { pod_sandbox_id: sandbox, port };
        let url = self.backend.port_forward(wanted).await.map_err(Refusal::internal)?;
        session::begin(&self.tasks, request, wish, Purpose::Ports(ports), &url, pending()).await
    }
}

/// Ends with the container.
async fn ended(backend: Arc<dyn Backend>, pod: Arc<Pod>, container: String, id: String) {
    loop {
        match backend.running(&pod, &container).await {
            Ok(now) if now.as_ref() != Some(&id) => break,
            // A runtime that does not answer says nothing about the container.
            _ => tokio::time::sleep(ASK_RUNTIME).await,
        }
    }
}

/// The ports that a request names, if it names any: `port=80,443`, also several times.
fn ports(query: &Query) -> Result<Vec<u16>, Refusal> {
    let named = query.all("port");
    named
        .iter()
        .flat_map(|ports| ports.split(','))
        .map(|port| match port.parse::<u16>() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(Refusal::new(StatusCode::BAD_REQUEST, format!("unable to parse {port:?} as a port"))),
        })
        .collect()
}

/// The streams that a request asks for, by the kubelet's names for them.
fn streams(query: &Query) -> Result<Streams, Refusal> {
    let streams = Streams {
        stdin: query.flag("input"),
        stdout: query.flag("output"),
        stderr: query.flag("error"),
        tty: query.flag("tty"),
    };
    if !streams.stdin && !streams.stdout && !streams.stderr {
        let words = "you must specify at least 1 of stdin, stdout, stderr";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, words));
    }
    Ok(streams)
}

fn refused(refusal: &Refusal) -> Response<Body> {
    whole(refusal.status, PLAIN, refusal.words.clone().into())
}

fn whole(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(body).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

#[cfg(test)]
mod tests;
