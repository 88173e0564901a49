use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

use super::*;
use crate::cache::{Cache, Selectors};
use crate::pki::{Authority, IssueRequest, Subject};
use crate::serve::{Server, Welcome};
use crate::tasks::Tasks;
use crate::tls::{ClientAuthorities, ClientCertificates, TlsSource, server_config};

#[test]
fn an_answer_is_told_in_few_words() {
    let refused = |message: &str| {
        kube::Error::Api(Box::new(kube::core::Status {
            message: message.into(),
            code: 500,
            ..Default::default()
        }))
    };
    let answer =
        "[+]ping ok\n[-]etcd failed: reason withheld\n[-]x failed: reason withheld\nreadyz check failed\n";
    assert_eq!(obstacle(&refused(answer)), "it is not done with etcd, x");
    assert_eq!(obstacle(&refused("")), "it answers 500");
}

/// Answers as a server written in Go may: every empty list and map is a null.
async fn answer_with_nulls(mut stream: tokio::net::TcpStream) -> std::io::Result<()> {
    const POD: &str = r#"{"apiVersion":"v1","kind":"Pod",
            "metadata":{"name":"p","resourceVersion":"7","labels":null,"creationTimestamp":null},
            "spec":{"containers":null,"volumes":null},"status":{"conditions":null}}"#;
    let mut asked = BufReader::new(&mut stream);
    let mut head = String::new();
    while asked.read_line(&mut head).await? > 2 {}
    let list = |items: &str| {
        format!(
            r#"{{"kind":"PodList","apiVersion":"v1","metadata":{{"resourceVersion":"7"}},"items":{items}}}"#
        )
    };
    let pod = POD.replace('\n', "");
    let body = match head.split(' ').take(2).collect::<Vec<_>>().as_slice() {
        ["DELETE", _] => list("null"),
        ["GET", path] if path.contains("watch=true") => {
            format!("{{\"type\":\"ADDED\",\"object\":{pod}}}\n")
        }
        ["GET", path] if path.contains("/pods/p") => pod,
        ["GET", path] if path.contains("limit=1") => list(&format!("[{pod}]")),
        _ => list("null"),
    };
    let length = body.len();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length:";
    stream.write_all(format!("{head} {length}\r\n\r\n{body}").as_bytes()).await?;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.map(drop)
}

#[tokio::test]
async fn a_null_is_an_empty_list_to_whatever_asks_through_the_client() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap();
    let url = format!("http://{host}").parse().unwrap();
    let server = async {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            answer_with_nulls(stream).await.unwrap();
        }
    };
    let tasks = Tasks::new();
    let asking = async {
        let pods: Api<Pod> = Api::all(from_config(&kube::Config::new(url)).unwrap());
        let none = pods.list(&ListParams::default()).await.unwrap();
        assert!(none.items.is_empty());
        let one = pods.list(&ListParams::default().limit(1)).await.unwrap();
        assert_eq!(one.items[0].spec.as_ref().unwrap().containers, []);
        assert_eq!(pods.get("p").await.unwrap().metadata.labels, None);
        let deleted = pods.delete_collection(&DeleteParams::default(), &ListParams::default()).await;
        assert!(deleted.unwrap().left().unwrap().items.is_empty());
        let metrics = crate::metrics::text(&crate::metrics::registry());
        for (method, count) in [("GET", 3), ("DELETE", 1)] {
            let line = format!(
                "rest_client_requests_total{{code=\"200\",host=\"{host}\",method=\"{method}\"}} {count}\n"
            );
            assert!(metrics.contains(&line), "{line} in {metrics}");
        }
        let cache = Cache::start(pods, Selectors::all(), &tasks);
        let mut changes = cache.subscribe();
        while cache.get(None, "p").is_none() {
            changes.changed().await;
        }
    };
    tokio::select! {
        () = server => {}
        () = asking => {}
    }
}

#[tokio::test]
async fn a_missing_kubeconfig_is_named() {
    let error = connect(Path::new("/nowhere/kubeconfig"), "test").err().unwrap();
    assert!(error.to_string().contains("/nowhere/kubeconfig"), "{error}");
}

/// Tells its callers whom their certificates name.
async fn tell_names(folder: &Path, tasks: &Tasks) -> String {
    let at = |name: &str| folder.join(name);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let source = TlsSource::Files { cert: at("server.crt"), key: at("server.key") };
    let config = server_config(&source, ClientCertificates::Asked, &["h2"]).unwrap();
    let clients = Some(Arc::new(ClientAuthorities::load(&at("ca.crt")).unwrap()));
    let welcome: Welcome<Full<Bytes>> = Arc::new(|peer| {
        let subject = Subject::of(peer.certificate.unwrap().certificate().unwrap()).unwrap().unwrap();
        Box::new(move |_| {
            Box::pin(std::future::ready(Response::new(Full::from(subject.user.clone().into_bytes()))))
        })
    });
    let server = Server { clients, ..Server::new(listener, Some(config), tasks.token()) };
    tasks.spawn("server", server.run(tasks.clone(), welcome));
    url
}

#[tokio::test]
async fn a_client_shows_the_certificate_that_its_files_have_now() {
    let (folder, tasks) = (tempfile::tempdir().unwrap(), Tasks::new());
    let at = |name: &str| folder.path().join(name);
    let authority = Authority::new("ca").unwrap();
    authority.save(&at("ca.crt"), &at("ca.key")).unwrap();
    let server = IssueRequest::server("server", &[], &[[127, 0, 0, 1].into()]);
    authority.issue(&server).unwrap().save(&at("server.crt"), &at("server.key")).unwrap();
    let url = tell_names(folder.path(), &tasks).await;
    let issue = |user: &str, file: &str| {
        let issued = authority.issue(&IssueRequest::client(user, &[])).unwrap();
        issued.save(&at(&format!("{file}.crt")), &at(&format!("{file}.key"))).unwrap();
        issued.cert_pem + &issued.key_pem
    };
    let configure = |file: &str| {
        let user = serde_json::json!({"client-certificate": format!("{file}.crt"), "client-key": format!("{file}.key")});
        let config = serde_json::json!({"current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": url, "certificate-authority": "ca.crt"}}],
            "users": [{"name": "c", "user": user}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}]});
        std::fs::write(at("config"), config.to_string()).unwrap();
    };
    issue("jane", "one");
    configure("one");
    let client = connect_as(&at("config"), Some(&at("rotated.pem")), "test").unwrap();
    assert_eq!(certificate(&at("config")), std::fs::read(at("one.crt")).ok());
    let told = async |name: &str| {
        let look = async {
            while client.request_text(Request::get("/").body(Vec::new()).unwrap()).await.unwrap() != name {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(ANSWER_TIMEOUT, look).await.unwrap_or_else(|_| panic!("{name} does not come"));
    };
    told("jane").await;
    issue("joe", "one");
    told("joe").await;
    issue("eve", "two");
    configure("two");
    told("eve").await;
    std::fs::write(at("config"), "no kubeconfig").unwrap();
    let rotated = issue("node", "three");
    told("eve").await;
    configure("two");
    std::fs::write(at("rotated.pem"), rotated).unwrap();
    told("node").await;
    tasks.stop_and_join(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn what_is_not_answered_is_counted() {
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = from_config(&kube::Config::new(format!("http://{gone}").parse().unwrap())).unwrap();
    assert!(is_ready(&client).await.is_err());
    let metrics = crate::metrics::text(&crate::metrics::registry());
    let line = format!("rest_client_requests_total{{code=\"<error>\",host=\"{gone}\",method=\"GET\"}} ");
    assert!(metrics.contains(&line), "{line} in {metrics}");
}
