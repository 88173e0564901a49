//! The server as its clients see it, over TLS, with a stand-in for the runtime.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use machinery::pki::{Authority, IssueRequest};
use machinery::serve::access::Terms;
use machinery::testing::fake_api;
use machinery::{metrics, tls};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::*;

/// A runtime whose exec sessions greet by name and end with a Status.
struct Runtime {
    streaming: SocketAddr,
    log: Below,
    runs: AtomicBool,
}

#[async_trait]
impl Backend for Runtime {
    fn pods(&self) -> Vec<Arc<Pod>> {
        let pod = json!({"metadata": {"name": "web", "namespace": "default"},
            "spec": {"containers": [{"name": "c"}, {"name": "terminal", "tty": true}]},
            "status": {"containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": true,
                "restartCount": 0, "containerID": "test://id-1", "state": {"running": {}}}]}});
        vec![Arc::new(serde_json::from_value(pod).unwrap())]
    }

    fn pod(&self, namespace: &str, name: &str) -> Option<Arc<Pod>> {
        ((namespace, name) == ("default", "web")).then(|| self.pods().remove(0))
    }

    async fn running(&self, _pod: &Pod, _container: &str) -> Result<Option<String>, api::Message> {
        Ok(self.runs.load(Ordering::SeqCst).then(|| "id-1".to_owned()))
    }

    async fn sandbox(&self, _pod: &Pod) -> Result<Option<String>, api::Message> {
        Ok(None)
    }

    async fn container(&self, id: &str) -> Result<Found, api::Message> {
        assert_eq!(id, "id-1");
        Ok(Found { log: self.log.clone(), running: self.runs.load(Ordering::SeqCst) })
    }

    async fn exec(&self, request: ExecRequest) -> Result<String, api::Message> {
        assert!(request.container_id == "id-1" && request.stdout && !request.stdin);
        match request.cmd.join(" ").as_str() {
            "echo a b" => Ok(format!("http://{}/exec/token", self.streaming)),
            _ => Err("the runtime says no".to_owned().into()),
        }
    }

    async fn stats(&self, _disks: bool) -> Result<Summary, api::Message> {
        Err("no stats".to_owned().into())
    }

    async fn attach(&self, request: AttachRequest) -> Result<String, api::Message> {
        let place = if request.tty && !request.stderr { "attach/terminal" } else { "gone" };
        Ok(format!("http://{}/{place}", self.streaming))
    }

    async fn port_forward(&self, _request: PortForwardRequest) -> Result<String, api::Message> {
        Err("no ports".to_owned().into())
    }
}

/// The API server: a scraper may read metrics and pods, a prober may read health and configuration.
fn review(path: &str, body: Value) -> Option<Value> {
    let spec = &body["spec"];
    if path.ends_with("/tokenreviews") {
        let token = spec["token"].as_str().unwrap();
        return (token != "away")
            .then(|| json!({"status": {"authenticated": token != "old", "user": {"username": token}}}));
    }
    let what = &spec["resourceAttributes"];
    assert!(what["resource"] == "nodes" && what["name"] == "node-1" && what["version"] == "v1", "{spec}");
    let may = [("scraper", "metrics"), ("scraper", "pods"), ("prober", "healthz"), ("admin", "proxy")];
    let asked = (spec["user"].as_str().unwrap(), what["subresource"].as_str().unwrap());
    let allowed = what["verb"] == "get" && may.contains(&asked);
    (asked.0 != "unlucky").then(|| json!({"spec": {}, "status": {"allowed": allowed}}))
}

/// Answers one request: upgrades the exec session and plays it, refuses all else.
async fn play(stream: TcpStream) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        stream.read_line(&mut head).await?;
    }
    let attach = head.starts_with("POST /attach/terminal ");
    if !attach && !head.starts_with("POST /exec/token ") {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 9\r\n\r\nno token\n").await;
    }
    assert!(
        head.contains("upgrade: SPDY/3.1\r\n")
            && head.contains("x-stream-protocol-version: v4.channel.k8s.io\r\n")
    );
    let answer = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: SPDY/3.1\r\n\r\n";
    stream.write_all(answer.as_bytes()).await?;
    for _ in 0..if attach { 3 } else { 2 } {
        let mut head = [0; 8];
        stream.read_exact(&mut head).await?;
        assert_eq!(head[..4], [0x80, 3, 0, 1]);
        let mut body = vec![0; usize::from(head[7])];
        stream.read_exact(&mut body).await?;
    }
    if attach {
        // A runtime that never says that it is done.
        stream.write_all(b"\0\0\0\x03\0\0\0\x04one\n").await?;
        return stream.read_to_end(&mut Vec::new()).await.map(drop);
    }
    stream.write_all(b"\0\0\0\x03\x01\0\0\x04a b\n").await?;
    stream.write_all(b"\0\0\0\x01\x01\0\0\x02{}").await
}

struct Lab {
    dir: tempfile::TempDir,
    tasks: Tasks,
    address: SocketAddr,
    runtime: Arc<Runtime>,
}

impl Lab {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let authority = Authority::new("ca").unwrap();
        authority.save(&at("ca.crt"), &at("ca.key")).unwrap();
        let server = authority.issue(&IssueRequest::server("kubelet", &["localhost"], &[])).unwrap();
        server.save(&at("server.crt"), &at("server.key")).unwrap();
        let callers = [
            ("client", "kube-apiserver-kubelet-client", "system:kubelet-api-admin"),
            ("node", "system:node:node-1", "system:nodes"),
        ];
        for (file, user, group) in callers {
            let issued = authority.issue(&IssueRequest::client(user, &[group])).unwrap();
            issued.save(&at(&format!("{file}.crt")), &at(&format!("{file}.key"))).unwrap();
        }
        let stranger = Authority::new("other")
            .unwrap()
            .issue(&IssueRequest::client(callers[0].1, &[callers[0].2]))
            .unwrap();
        stranger.save(&at("stranger.crt"), &at("stranger.key")).unwrap();
        std::fs::write(at("0.log"), "2026-01-02T03:04:05Z stdout F one\n2026-01-02T03:04:06Z stderr F two\n")
            .unwrap();

        let tasks = Tasks::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let streaming = listener.local_addr().unwrap();
        let stop = tasks.token();
        tasks.spawn("stand-in", async move {
            while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
                play(accepted?.0).await?;
            }
            Ok(())
        });
        let log = Below::new(dir.path(), &at("0.log")).unwrap();
        let runtime = Arc::new(Runtime { streaming, log, runs: AtomicBool::new(true) });
        let config = ServerConfig {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls: TlsSource::Files { cert: at("server.crt"), key: at("server.key") },
            client_ca: at("ca.crt"),
            node: "node-1".into(),
            configz: json!({"kubeletconfig": {"port": 10250}}),
        };
        let access = Access::new(fake_api::client(review), Terms::KUBELET);
        let backend = Arc::clone(&runtime) as Arc<dyn Backend>;
        let address =
            spawn(&tasks, config, access, backend, metrics::registry(), Health::new()).await.unwrap();
        Self { dir, tasks, address, runtime }
    }

    /// Connects with the certificate in the files of that name, or with none.
    async fn connect(&self, caller: Option<&str>) -> TlsStream<TcpStream> {
        let at = |name: &str| self.dir.path().join(name);
        let files = caller.map(|caller| (at(&format!("{caller}.crt")), at(&format!("{caller}.key"))));
        let identity = files.as_ref().map(|(cert, key)| (cert.as_path(), key.as_path()));
        let connector = TlsConnector::from(tls::client_config(&at("ca.crt"), identity).unwrap());
        let stream = TcpStream::connect(self.address).await.unwrap();
        connector.connect("localhost".try_into().unwrap(), stream).await.unwrap()
    }

    /// Status and body of a request, upgraded or not.
    async fn get(&self, caller: Option<&str>, path: &str, headers: &str) -> (u16, String) {
        let mut stream = self.connect(caller).await;
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close, upgrade\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // The server may hang up without TLS' goodbye when an upgrade was asked for.
        if let Err(error) = stream.read_to_end(&mut answer).await {
            assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{path}");
        }
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        // A log comes in chunks, each after its length.
        let chunked = head.contains("transfer-encoding: chunked");
        let body = if chunked { body.split("\r\n").skip(1).step_by(2).collect() } else { body.to_owned() };
        (status, body)
    }
}

/// Who calls: the API server, or another node's kubelet.
const SERVER: Option<&str> = Some("client");
const NODE: Option<&str> = Some("node");
const UPGRADE: &str = "upgrade: websocket\r\nsec-websocket-version: 13\r\n\
     sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: v5.channel.k8s.io, v4.channel.k8s.io\r\n";

#[tokio::test]
async fn answers() {
    let lab = Lab::new().await;
    let not_negotiated = "upgrade: websocket\r\nsec-websocket-key: x\r\nsec-websocket-protocol: other\r\n";
    let negotiation = "unable to negotiate protocol: client supports [\"other\"], \
         server accepts [\"v5.channel.k8s.io\", \"v4.channel.k8s.io\", \
         \"v4.base64.channel.k8s.io\", \"channel.k8s.io\", \"base64.channel.k8s.io\"]";
    let as_reader = format!("{UPGRADE}authorization: Bearer admin\r\n");
    let cases = [
        (None, "/healthz", "", 200, "ok"),
        (None, "/pods", "", 401, "Unauthorized"),
        (Some("stranger"), "/pods", "", 401, "Unauthorized"),
        (NODE, "/healthz", "", 200, "ok"),
        (
            NODE,
            "/pods",
            "",
            403,
            "Forbidden (user=system:node:node-1, verb=get, resource=nodes, subresource(s)=[pods proxy])\n",
        ),
        (
            NODE,
            "/metrics",
            "",
            403,
            "Forbidden (user=system:node:node-1, verb=get, resource=nodes, subresource(s)=[metrics])\n",
        ),
        (None, "/containerLogs/default/web/c", "", 401, "Unauthorized"),
        (None, "/metrics/resource", "authorization: Bearer scraper\r\n", 500, "no stats"),
        (
            None,
            "/configz",
            "authorization: Bearer scraper\r\n",
            403,
            "Forbidden (user=scraper, verb=get, resource=nodes, subresource(s)=[configz proxy])\n",
        ),
        (None, "/configz", "authorization: Bearer admin\r\n", 200, r#"{"kubeletconfig":{"port":10250}}"#),
        (
            None,
            "/exec/default/web/c?command=x&output=1",
            &as_reader,
            403,
            "Forbidden (user=admin, verb=create, resource=nodes, subresource(s)=[proxy])\n",
        ),
        (None, "/healthz/ping", "authorization: Bearer prober\r\n", 200, "ok"),
        (None, "/healthz/ping", "", 401, "Unauthorized"),
        (None, "/metrics", "authorization: Bearer away\r\n", 401, "Unauthorized"),
        (
            None,
            "/pods",
            "authorization: Bearer unlucky\r\n",
            500,
            "Authorization error (user=unlucky, verb=get, resource=nodes, subresource=pods)",
        ),
        (None, "/metrics/resource", "authorization: Bearer old\r\n", 401, "Unauthorized"),
        (None, "/metrics/resource", "authorization: Basic scraper\r\n", 401, "Unauthorized"),
        (SERVER, "/containerLogs/default/web/c", "", 200, "one\ntwo\n"),
        (
            SERVER,
            "/containerLogs/default/web/c?tailLines=1&timestamps=true",
            "",
            200,
            "2026-01-02T03:04:06.000000000Z two\n",
        ),
        (SERVER, "/containerLogs/default/web/c?tailLines=-1", "", 400, "tailLines: Invalid value: \"-1\""),
        (SERVER, "/containerLogs/default/no/c", "", 404, "pod \"no\" not found\n"),
        (SERVER, "/containerLogs/default/web/no", "", 404, "container \"no\" not found in pod \"web\"\n"),
        (
            SERVER,
            "/exec/default/web/c?command=x&output=1",
            "",
            400,
            "unable to upgrade: missing upgrade headers in request",
        ),
        (
            SERVER,
            "/exec/default/web/c?command=x",
            UPGRADE,
            400,
            "you must specify at least 1 of stdin, stdout, stderr",
        ),
        (SERVER, "/exec/default/web/c?command=x&output=1", not_negotiated, 400, negotiation),
        (SERVER, "/exec/default/web/c?command=x&output=1", UPGRADE, 500, "the runtime says no"),
        (SERVER, "/exec/default/web/no?command=x&output=1", UPGRADE, 500, "container not found (\"no\")"),
        (
            SERVER,
            "/attach/default/web/c?output=1",
            UPGRADE,
            500,
            "the runtime refuses the stream: 404 Not Found no token",
        ),
        (SERVER, "/portForward/default/web", UPGRADE, 400, "query parameter \"port\" is required"),
        (SERVER, "/portForward/default/web?port=80", UPGRADE, 500, "pod not found (\"web\")"),
        (SERVER, "/nowhere", "", 404, "404 page not found\n"),
    ];
    for (caller, path, headers, status, body) in cases {
        assert_eq!(lab.get(caller, path, headers).await, (status, body.to_owned()), "{path}");
    }
    let (status, pods) = lab.get(None, "/pods", "authorization: Bearer scraper\r\n").await;
    assert!(status == 200 && pods.contains("\"kind\":\"PodList\"") && pods.contains("\"web\""), "{pods}");
    assert!(lab.get(SERVER, "/metrics", "").await.1.contains("process_cpu_seconds_total"));
    lab.runtime.runs.store(false, Ordering::SeqCst);
    let dead = lab.get(SERVER, "/exec/default/web/c?command=x&output=1", UPGRADE).await;
    assert_eq!(dead, (500, "container not found (\"c\")".to_owned()));
    lab.tasks.stop_and_join(Duration::from_secs(5)).await.unwrap();
}

/// Begins a session.
async fn session(lab: &Lab, path: &str) -> WebSocketStream<TlsStream<TcpStream>> {
    let mut stream = lab.connect(SERVER).await;
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\n{UPGRADE}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
    assert!(head.contains("sec-websocket-protocol: v5.channel.k8s.io\r\n"), "{head}");
    WebSocketStream::from_raw_socket(stream, Role::Client, None).await
}

#[tokio::test]
async fn an_exec_session_over_websocket() {
    let lab = Lab::new().await;
    let mut client = session(&lab, "/exec/default/web/c?command=echo&command=a+b&output=1").await;
    let mut received = Vec::new();
    while let Some(Ok(Message::Binary(bytes))) = client.next().await {
        received.push(String::from_utf8(bytes.to_vec()).unwrap());
    }
    assert_eq!(received, ["\x01", "\x01a b\n", "\x03{}"]);
    lab.tasks.stop_and_join(Duration::from_secs(5)).await.unwrap();
}

/// What `kubectl run -it` asks for when its input is no terminal.
#[tokio::test]
async fn attaching_uses_the_containers_terminal_and_ends_with_the_container() {
    let lab = Lab::new().await;
    let mut client = session(&lab, "/attach/default/web/terminal?output=1&error=1&tty=false").await;
    let mut received = Vec::new();
    while let Some(Ok(Message::Binary(bytes))) = client.next().await {
        received.push(String::from_utf8(bytes.to_vec()).unwrap());
        lab.runtime.runs.store(received.len() < 2, Ordering::SeqCst);
    }
    assert_eq!(received, ["\x01", "\x01one\n"]);
    lab.tasks.stop_and_join(Duration::from_secs(5)).await.unwrap();
}
