use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::pki::{Authority, IssueRequest};
use crate::tls::{ClientCertificates, TlsSource, client_config, server_config};

/// Short, but not so short that a client on a busy machine does not come to speak.
const SHORT: Duration = Duration::from_secs(1);

/// A server that closes connections after some time.
async fn listen(tasks: &Tasks, idle: Duration) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let welcome: Welcome<_> = Arc::new(|_| {
        Box::new(|_| Box::pin(std::future::ready(Response::new(Full::new(Bytes::from_static(b"here"))))))
    });
    let server = Server { idle, ..Server::new(listener, None, tasks.token()) };
    tasks.spawn("server", server.run(tasks.clone(), welcome));
    address
}

/// What still comes on a connection that the server closes, in far less time than usual.
async fn last_words(mut stream: TcpStream) -> String {
    let mut words = Vec::new();
    let read = tokio::time::timeout(IDLE_TIMEOUT / 3, stream.read_to_end(&mut words));
    read.await.expect("the server closes the connection").unwrap();
    String::from_utf8(words).unwrap()
}

#[tokio::test]
async fn a_connection_without_traffic_is_closed() {
    let tasks = Tasks::new();
    let address = listen(&tasks, SHORT).await;
    let silent = TcpStream::connect(address).await.unwrap();
    assert_eq!(last_words(silent).await, "");
    // One that has had its answer.
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let words = last_words(stream).await;
    assert!(words.starts_with("HTTP/1.1 200 OK\r\n") && words.ends_with("here"), "{words}");
    // And one that speaks HTTP/2.
    let stream = TcpStream::connect(address).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get("http://x/").body(Full::new(Bytes::new())).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "here");
    tokio::time::timeout(IDLE_TIMEOUT / 3, connection).await.expect("it is closed").unwrap().unwrap();
    tasks.stop_and_join(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn plain_http_is_told_that_tls_is_spoken() {
    let tasks = Tasks::new();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let source = TlsSource::SelfSigned(vec!["x".to_owned()]);
    let config = server_config(&source, ClientCertificates::Ignored, &[]).unwrap();
    let welcome: Welcome<Full<Bytes>> = Arc::new(|_| Box::new(|_| Box::pin(std::future::pending())));
    let server = Server::new(listener, Some(config), tasks.token());
    tasks.spawn("server", server.run(tasks.clone(), welcome));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let words = last_words(stream).await;
    let expected = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
    assert_eq!(words, expected);
    tasks.stop_and_join(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_to_whoever_comes_next() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let authority = Authority::new("ca").unwrap();
    authority.save(&at("ca.crt"), &at("ca.key")).unwrap();
    let tasks = Tasks::new();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    // As a kubelet's, which is there when somebody has approved it.
    let file = at("tls.pem");
    let config =
        server_config(&TlsSource::Awaited(file.clone()), ClientCertificates::Ignored, &["http/1.1"]).unwrap();
    let welcome: Welcome<Full<Bytes>> =
        Arc::new(|_| Box::new(|_| Box::pin(std::future::ready(Response::default()))));
    tasks.spawn("server", Server::new(listener, Some(config), tasks.token()).run(tasks.clone(), welcome));
    let connect = async || {
        // One of its own each time: no session is taken up again.
        let connector = tokio_rustls::TlsConnector::from(client_config(&at("ca.crt"), None).unwrap());
        connector.connect("localhost".try_into().unwrap(), TcpStream::connect(address).await.unwrap()).await
    };
    let shown = async |until: &dyn Fn(&[u8]) -> bool| {
        let look = async {
            loop {
                if let Ok(stream) = connect().await
                    && until(&stream.get_ref().1.peer_certificates().unwrap()[0])
                {
                    return stream;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(IDLE_TIMEOUT / 3, look).await.expect("it is shown in the end")
    };
    let renew = || {
        let made = authority.issue(&IssueRequest::server("server", &["localhost"], &[])).unwrap();
        crate::files::replace(&file, (made.cert_pem + &made.key_pem).as_bytes(), 0o600).unwrap();
    };
    assert!(connect().await.is_err(), "there is none yet");
    renew();
    let mut open = shown(&|_| true).await;
    let first = open.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    std::fs::write(&file, "half of").unwrap();
    shown(&|now| now == first).await;
    renew();
    shown(&|now| now != first).await;
    open.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut words = String::new();
    open.read_to_string(&mut words).await.unwrap();
    assert!(words.starts_with("HTTP/1.1 200 OK"), "{words}");
    tasks.stop_and_join(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn a_request_names_one_host_and_a_path() {
    let tasks = Tasks::new();
    let address = listen(&tasks, SHORT).await;
    for (hosts, expected) in [
        ("Host: a\r\n", "HTTP/1.1 200 OK\r\n"),
        ("Host: [::1]:80\r\n", "HTTP/1.1 200 OK\r\n"),
        ("Host: a\r\nHost: a\r\n", "\r\n\r\n400 Bad Request"),
        ("Host: a\r\nX: y\r\nhost: b\r\n", "\r\n\r\n400 Bad Request"),
        ("", "400 Bad Request: missing required Host header"),
        ("Host: a/b\r\n", "400 Bad Request: malformed Host header"),
        ("%2f%2F%61?%zz", "HTTP/1.1 200 OK\r\n"),
        ("%zz", "\r\n\r\n400 Bad Request"),
        ("%4", "\r\n\r\n400 Bad Request"),
        ("a%", "\r\n\r\n400 Bad Request"),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let (path, hosts) = if hosts.contains('%') { (hosts, "Host: a\r\n") } else { ("", hosts) };
        stream.write_all(format!("GET /{path} HTTP/1.1\r\n{hosts}\r\n").as_bytes()).await.unwrap();
        let words = last_words(stream).await;
        assert!(words.contains(expected), "{hosts}: {words}");
        assert_eq!(words.contains("here"), expected.contains("200"), "{hosts}: {words}");
    }
    tasks.stop_and_join(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn strangers_of_one_address_leave_room() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("ca.crt"), folder.path().join("ca.key"));
    Authority::new("ca").unwrap().save(&cert, &key).unwrap();
    let tasks = Tasks::new();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    // Whoever asks for something has said who it is.
    let welcome: Welcome<Full<Bytes>> = Arc::new(|peer| {
        Box::new(move |_| {
            peer.stranger.met();
            Box::pin(std::future::ready(Response::new(Full::from("here"))))
        })
    });
    let clients = Some(Arc::new(ClientAuthorities::load(&cert).unwrap()));
    let server = Server::new(listener, None, tasks.token());
    let strangers = Strangers::new(2);
    let server = Server { clients, strangers: Arc::clone(&strangers), ..server };
    tasks.spawn("server", server.run(tasks.clone(), welcome));
    let ask = async |mut stream: TcpStream| {
        let asked = stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let mut answer = [0; 15];
        let answered = asked.is_ok() && stream.read_exact(&mut answer).await.is_ok();
        answered.then_some(stream)
    };
    let connect = async || TcpStream::connect(address).await.unwrap();
    let mut known = Vec::new();
    for _ in 0..5 {
        known.push(ask(connect().await).await.expect("who is known does not count"));
    }
    // One that goes by itself leaves its place to another.
    let (first, gone) = (connect().await, connect().await);
    drop(gone);
    let left = async {
        while strangers.by_source.lock().values().map(|waiting| waiting.connections.len()).sum::<usize>() != 1
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(IDLE_TIMEOUT / 3, left).await.expect("it is forgotten");
    let second = connect().await;
    let third = connect().await;
    assert_eq!(last_words(first).await, "", "the oldest makes room");
    for stream in [second, third, known.remove(0)] {
        assert!(ask(stream).await.is_some(), "the others are not disturbed");
    }
    tasks.stop_and_join(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn a_head_without_end_is_not_waited_for() {
    let tasks = Tasks::new();
    let address = listen(&tasks, SHORT).await;
    for earlier in ["", "GET / HTTP/1.1\r\nhost: x\r\n\r\n"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("{earlier}GET / HTTP/1.1\r\nhost: x\r\nx-more:").as_bytes()).await.unwrap();
        let words = last_words(stream).await;
        assert_eq!(words.matches("200 OK").count(), usize::from(!earlier.is_empty()), "{words}");
    }
    tasks.stop_and_join(Duration::from_secs(5)).await.unwrap();
}

#[test]
fn only_a_connection_without_requests_is_idle() {
    let second = Duration::from_secs(1);
    let activity = Activity::new();
    let (first, other) = (activity.begin(), activity.begin());
    let later = || Instant::now() + 100 * second;
    assert_eq!(activity.left(second, later()), Some(second));
    drop(first);
    assert_eq!(activity.left(second, later()), Some(second), "one request is still under way");
    let over = Instant::now();
    drop(other);
    assert!(activity.left(second, over).is_some(), "it has just ended");
    assert_eq!(activity.left(second, later()), None);
    let _third = activity.begin();
    assert_eq!(activity.left(second, later()), Some(second));
}
