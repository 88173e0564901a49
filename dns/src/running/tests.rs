use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use machinery::tasks::Tasks;
use tokio::net::UdpSocket;

use super::Running;
use crate::corefile::{self, Server};
use crate::kubernetes::Feeds;

/// The blocks of a Corefile, at any free port.
fn blocks(text: &str) -> Vec<Server> {
    let mut servers = corefile::parse(text).unwrap();
    servers.iter_mut().for_each(|server| server.port = 0);
    servers
}

fn address(running: &Running) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::LOCALHOST.into(), running.ports[&0].address.port())
}

async fn ask(running: &Running, name: &str) -> ResponseCode {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket.send_to(&message.to_vec().unwrap(), address(running)).await.unwrap();
    let mut buffer = vec![0; 4096];
    let (length, _) = socket.recv_from(&mut buffer).await.unwrap();
    Message::from_vec(&buffer[..length]).unwrap().metadata.response_code
}

const CLUSTER: &str = ".:53 {\n kubernetes cluster.local\n}";

#[tokio::test]
async fn a_corefile_that_is_refused_changes_nothing() {
    let tasks = Tasks::new();
    let mut running = Running::new(None, tasks.clone());
    *running.index.write() = Some(Feeds::fixed(vec![], vec![], vec![], vec![]).index());
    running.take(blocks(CLUSTER)).await.unwrap();
    let before = address(&running);
    assert_eq!(ask(&running, "web.shop.svc.cluster.local.").await, ResponseCode::NXDomain);
    assert_eq!(ask(&running, "www.example.org.").await, ResponseCode::Refused);

    let refused = [
        ".:53 {\n forward . ns.example.org\n}",
        // The second block needs a port that is not free.
        &format!(".:53 {{\n}}\ncorp:{} {{\n}}", before.port()),
    ];
    for text in refused {
        let mut servers = corefile::parse(text).unwrap();
        servers[0].port = 0;
        running.take(servers).await.expect_err(text);
        assert!(running.index.read().is_some(), "{text}");
        assert_eq!(running.ports.len(), 1);
        assert_eq!(ask(&running, "web.shop.svc.cluster.local.").await, ResponseCode::NXDomain);
    }
    let moved = running.reload(".:53 {\n ready :1\n}").await.unwrap_err();
    assert!(moved.to_string().contains("read at start only"), "{moved}");

    running.take(blocks(".:53 {\n template IN A {\n  rcode SERVFAIL\n }\n}")).await.unwrap();
    assert_eq!(ask(&running, "web.shop.svc.cluster.local.").await, ResponseCode::ServFail);
    assert_eq!(address(&running), before);
    assert!(running.index.read().is_none(), "nobody needs it");
    tasks.stop();
}

#[tokio::test]
async fn a_reload_waits_for_what_it_has_to_know() {
    let (tasks, file) = (Tasks::new(), std::env::temp_dir().join(format!("dns-conf-{}", std::process::id())));
    // Nobody listens there.
    let nowhere = "apiVersion: v1\nkind: Config\ncurrent-context: a\nclusters: [{name: a, cluster: {server: 'http://127.0.0.1:1'}}]\nusers: [{name: a, user: {}}]\ncontexts: [{name: a, context: {cluster: a, user: a}}]\n";
    std::fs::write(&file, nowhere).unwrap();
    let mut running = Running::new(Some(file.clone()), tasks.clone());
    running.take(blocks(CLUSTER)).await.unwrap();
    let first = running.index.read().clone().unwrap();
    assert!(!first.synced(), "at start there is nothing to hold on to");
    let verified = CLUSTER.replace("cluster.local", "cluster.local {\n  pods verified\n }");
    let taken = tokio::time::timeout(Duration::from_millis(200), running.take(blocks(&verified))).await;
    assert!(taken.is_err(), "it waits");
    assert!(!running.index.read().as_ref().unwrap().has_pods());
    std::fs::remove_file(file).unwrap();
    tasks.stop();
}

#[tokio::test]
async fn a_server_that_asks_itself_says_so() {
    let tasks = Tasks::new();
    let mut running = Running::new(None, tasks.clone());
    running.take(blocks(".:53 {\n loop\n}")).await.unwrap();
    running.look_for_circles().await.unwrap();
    let circle = format!(".:53 {{\n loop\n forward . {} {{\n  max_concurrent 10\n }}\n}}", address(&running));
    running.take(blocks(&circle)).await.unwrap();
    let error = running.look_for_circles().await.unwrap_err();
    assert_eq!(error.to_string(), "loop detected for zone .: who is asked on asks this server");
    tasks.stop();
}
