//! Subresources that the kubelet answers: log, exec, attach, port-forward. The server finds the node, opens
//! a connection with its own certificate and joins the two, byte for byte once they are upgraded.

use std::sync::Arc;

use api::{kind::Kind, object::ObjectExt as _, status::Status};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use machinery::tasks::Tasks;
use rustls_pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::{
    Api,
    request::Verb,
    response::{self, Body},
    verbs::{Ctx, read},
};

/// How long a kubelet may take to accept a connection.
const CONNECT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// Whether a subresource is answered by the kubelet.
pub fn is_stream(kind: &Kind, subresource: Option<&str>) -> bool {
    kind.group.is_empty()
        && kind.plural == "pods"
        && matches!(subresource, Some("log" | "exec" | "attach" | "portforward"))
}

/// Answers such a request.
///
/// # Errors
/// 400 without a clear container, 404 without a pod, 500 and 503 when the kubelet does not answer.
pub async fn serve(ctx: Ctx, verb: Verb, request: Request<Incoming>) -> Result<Response<Body>, Status> {
    let subresource = ctx.path.subresource.clone().unwrap_or_default();
    if !matches!(verb, Verb::Get | Verb::Create) {
        return Err(Status::method_not_allowed());
    }
    let pod = read::find(&ctx).await?;
    let pod: Value = serde_json::from_slice(&pod.json()).map_err(Status::internal)?;
    let target = path_on_kubelet(&ctx, &pod, &subresource)?;
    let kubelet = Kubelet::of(&ctx.api, &pod)?;
    if subresource == "log" {
        return kubelet.get(&target).await;
    }
    if !request.headers().contains_key(header::UPGRADE) {
        return Err(Status::bad_request("Upgrade request required"));
    }
    kubelet.upgrade(&target, request, &ctx.api).await
}

/// Path and query under which the kubelet knows the request.
fn path_on_kubelet(ctx: &Ctx, pod: &Value, subresource: &str) -> Result<String, Status> {
    let (namespace, name) = (pod.namespace(), pod.name());
    let query = |leave_out: &[&str]| {
        let encode = |s: &str| {
            percent_encoding::utf8_percent_encode(s, percent_encoding::NON_ALPHANUMERIC).to_string()
        };
        let pairs = ctx.query.pairs.iter().filter(|(k, _)| !leave_out.contains(&k.as_str()));
        pairs.map(|(k, v)| format!("{}={}", encode(k), encode(v))).collect::<Vec<_>>().join("&")
    };
    if subresource == "portforward" {
        return Ok(format!("/portForward/{namespace}/{name}?{}", query(&[])));
    }
    let container = container(ctx, pod, subresource)?;
    if subresource == "log" {
        return Ok(format!("/containerLogs/{namespace}/{name}/{container}?{}", query(&["container"])));
    }
    // The kubelet's own names for the streams differ from the API's.
    let mut pairs = Vec::new();
    for (ours, theirs) in [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")] {
        if ctx.query.get(ours).is_some_and(|v| matches!(v, "true" | "1")) {
            pairs.push(format!("{theirs}=1"));
        }
    }
    let rest = query(&["container", "stdin", "stdout", "stderr", "tty"]);
    if !rest.is_empty() {
        pairs.push(rest);
    }
    Ok(format!("/{subresource}/{namespace}/{name}/{container}?{}", pairs.join("&")))
}

/// The container meant: the one named, or the only one.
fn container(ctx: &Ctx, pod: &Value, subresource: &str) -> Result<String, Status> {
    let names = |list: &str| -> Vec<String> {
        let all = pod["spec"][list].as_array().into_iter().flatten();
        all.map(|c| c.str_at(&["name"]).to_owned()).collect()
    };
    let (main, init) = (names("containers"), names("initContainers"));
    let ephemeral = names("ephemeralContainers");
    match ctx.query.get("container").filter(|c| !c.is_empty()) {
        Some(wanted) => {
            if main.iter().chain(&init).chain(&ephemeral).any(|n| n == wanted) {
                return Ok(wanted.to_owned());
            }
            Err(Status::bad_request(format!("container {wanted} is not valid for pod {}", pod.name())))
        }
        None if main.len() == 1 || subresource == "attach" => Ok(main.into_iter().next().unwrap_or_default()),
        None => {
            let mut text = format!(
                "a container name must be specified for pod {}, choose one of: [{}]",
                pod.name(),
                main.join(" ")
            );
            if !init.is_empty() {
                text.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
            }
            Err(Status::bad_request(text))
        }
    }
}

/// One node's kubelet.
struct Kubelet {
    address: String,
    port: u16,
    connector: TlsConnector,
    tasks: Tasks,
}

impl Kubelet {
    /// The kubelet of the pod's node.
    fn of(api: &Arc<Api>, pod: &Value) -> Result<Self, Status> {
        let name = pod.str_at(&["spec", "nodeName"]);
        if name.is_empty() {
            return Err(Status::bad_request(format!("pod {} does not have a host assigned", pod.name())));
        }
        let Some(tls) = &api.kubelet_tls else {
            return Err(Status::failure(
                501,
                "NotImplemented",
                "this server is not configured to talk to kubelets",
            ));
        };
        let node =
            api.cached("/registry/nodes/", name).ok_or_else(|| Status::not_found("nodes", "", name))?;
        let node: Value = serde_json::from_slice(&node.json()).map_err(Status::internal)?;
        let addresses = node.at(&["status", "addresses"]).and_then(Value::as_array);
        let internal = addresses.into_iter().flatten().find(|a| a["type"] == "InternalIP");
        let address = internal.map(|a| a.str_at(&["address"]).to_owned()).filter(|a| !a.is_empty());
        let port = node.at(&["status", "daemonEndpoints", "kubeletEndpoint", "Port"]).and_then(Value::as_u64);
        Ok(Self {
            address: address
                .ok_or_else(|| Status::internal(format!("node {name} has no address of type InternalIP")))?,
            port: port.and_then(|p| u16::try_from(p).ok()).filter(|p| *p != 0).unwrap_or(10250),
            connector: TlsConnector::from(tls.clone()),
            tasks: api.tasks.clone(),
        })
    }

    async fn connect(&self) -> Result<http1::SendRequest<Empty<Bytes>>, Status> {
        let unreachable = |e: &dyn std::fmt::Display| {
            Status::internal(format!("error dialing backend: dial tcp {}:{}: {e}", self.address, self.port))
        };
        let dial = async {
            let stream = TcpStream::connect((self.address.as_str(), self.port)).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from(self.address.clone()).map_err(std::io::Error::other)?;
            self.connector.connect(name, stream).await
        };
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, dial)
            .await
            .map_err(|_| unreachable(&"i/o timeout"))?
            .map_err(|e| unreachable(&e))?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|e| unreachable(&e))?;
        // Ends with the connection: when either side hangs up, or the answer's body is dropped.
        self.tasks.spawn_scoped("kubelet connection", async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "connection to a kubelet ended");
            }
        });
        Ok(sender)
    }

    fn request(&self, method: Method, target: &str) -> Result<Request<Empty<Bytes>>, Status> {
        Request::builder()
            .method(method)
            .uri(target)
            .header(header::HOST, format!("{}:{}", self.address, self.port))
            .body(Empty::new())
            .map_err(Status::internal)
    }

    /// A plain answer, streamed through.
    async fn get(&self, target: &str) -> Result<Response<Body>, Status> {
        let mut sender = self.connect().await?;
        let answer =
            sender.send_request(self.request(Method::GET, target)?).await.map_err(Status::internal)?;
        if answer.status() != StatusCode::OK {
            return Err(refusal(answer).await);
        }
        let (parts, body) = answer.into_parts();
        // A broken kubelet connection ends the body; the status line is long gone.
        let frames = futures::stream::unfold(body, |mut body| async move {
            match body.frame().await {
                Some(Ok(frame)) => Some((Ok(frame), body)),
                Some(Err(_)) | None => None,
            }
        });
        let mut response = Response::new(http_body_util::StreamBody::new(frames).boxed_unsync());
        if let Some(kind) = parts.headers.get(header::CONTENT_TYPE) {
            response.headers_mut().insert(header::CONTENT_TYPE, kind.clone());
        }
        Ok(response)
    }

    /// Upgrades both connections and joins them.
    async fn upgrade(
        &self,
        target: &str,
        mut request: Request<Incoming>,
        api: &Arc<Api>,
    ) -> Result<Response<Body>, Status> {
        let mut onward = self.request(request.method().clone(), target)?;
        for (name, value) in request.headers() {
            let passed = matches!(*name, header::CONNECTION | header::UPGRADE)
                || name.as_str().starts_with("sec-websocket-")
                || name.as_str().starts_with("x-stream-");
            if passed {
                onward.headers_mut().append(name, value.clone());
            }
        }
        let mut sender = self.connect().await?;
        let mut answer = sender.send_request(onward).await.map_err(Status::internal)?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(refusal(answer).await);
        }
        let mut response = Response::new(response::full(Bytes::new()));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        for (name, value) in answer.headers() {
            response.headers_mut().append(name, value.clone());
        }
        let (client, kubelet) = (hyper::upgrade::on(&mut request), hyper::upgrade::on(&mut answer));
        let stop = api.stop.clone();
        api.tasks.spawn_scoped("stream", async move {
            let (Ok(client), Ok(kubelet)) = tokio::join!(client, kubelet) else { return };
            let (mut client, mut kubelet) = (TokioIo::new(client), TokioIo::new(kubelet));
            tokio::select! {
                joined = tokio::io::copy_bidirectional(&mut client, &mut kubelet) => {
                    if let Err(error) = joined {
                        tracing::debug!(%error, "stream ended");
                    }
                }
                () = stop.cancelled() => {}
            }
        });
        Ok(response)
    }
}

/// What a kubelet's refusal means to the caller: its own `Status`, or its text.
async fn refusal(answer: Response<Incoming>) -> Status {
    let code = answer.status().as_u16();
    let bytes = crate::body::read(answer.into_body()).await.unwrap_or_default();
    if let Ok(status) = serde_json::from_slice::<Status>(&bytes)
        && status.kind == "Status"
        && status.code >= 400
    {
        return status;
    }
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    match code {
        400 => Status::bad_request(text),
        404 => Status::failure(404, "NotFound", text),
        _ => Status::internal(text),
    }
}
