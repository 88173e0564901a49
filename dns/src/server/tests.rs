use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use machinery::tasks::Tasks;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

use super::{LARGEST_QUESTION, MAX_STREAMS, Port, serve};
use crate::chain::Chain;
use crate::corefile;
use crate::metrics::Metrics;

/// A server whose name `big.corp` has more addresses than a datagram holds.
async fn server(registry: &mut machinery::metrics::Registry, tasks: &Tasks) -> (Port, SocketAddr) {
    let many: String =
        (1..=60).map(|last| format!("  answer \"{{{{ .Name }}}} 60 IN A 192.0.2.{last}\"\n")).collect();
    let text = format!(
        "corp.:53 {{\n template IN A big.corp {{\n{many} }}\n template IN A small.corp {{\n  \
         answer \"{{{{ .Name }}}} 60 IN A 192.0.2.1\"\n }}\n}}"
    );
    let chains = corefile::parse(&text).unwrap().into_iter().map(|block| Chain::new(block, None).unwrap());
    let port = serve(0, chains.collect(), Metrics::new(registry), tasks).await.unwrap();
    let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port.address.port());
    (port, address)
}

fn query(id: u16, name: &str) -> Vec<u8> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    message.to_vec().unwrap()
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&u16::try_from(message.len()).unwrap().to_be_bytes()[..], message].concat()
}

async fn answer(stream: &mut TcpStream) -> Message {
    let mut bytes = vec![0; stream.read_u16().await.unwrap().into()];
    stream.read_exact(&mut bytes).await.unwrap();
    Message::from_vec(&bytes).unwrap()
}

/// Waits until the other side has closed without a word.
async fn closed(mut stream: TcpStream) {
    let mut rest = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
    drop(end.expect("it is closed"));
    assert!(rest.is_empty());
}

#[tokio::test]
async fn what_is_cut_in_a_datagram_comes_whole_over_tcp() {
    let (tasks, mut registry) = (Tasks::new(), machinery::metrics::registry());
    let (_port, address) = server(&mut registry, &tasks).await;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let ask = async |id, name: &str| {
        socket.send_to(&query(id, name), address).await.unwrap();
        let mut buffer = vec![0; 4096];
        let (length, _) = socket.recv_from(&mut buffer).await.unwrap();
        Message::from_vec(&buffer[..length]).unwrap()
    };
    let small = ask(1, "small.corp.").await;
    assert_eq!((small.metadata.id, small.answers.len(), small.metadata.truncation), (1, 1, false));
    let cut = ask(2, "big.corp.").await;
    assert!(cut.metadata.truncation && cut.answers.len() < 60);
    assert_eq!(ask(3, "www.example.org.").await.metadata.response_code, ResponseCode::Refused);

    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&framed(&query(4, "big.corp."))).await.unwrap();
    assert_eq!(answer(&mut stream).await.answers.len(), 60);

    let text = machinery::metrics::text(&registry);
    for line in [
        "coredns_dns_requests_total{proto=\"udp\",type=\"A\"} 2",
        "coredns_dns_requests_total{proto=\"tcp\",type=\"A\"} 1",
        "coredns_dns_responses_total{rcode=\"NOERROR\"} 3",
        "coredns_dns_responses_total{rcode=\"REFUSED\"} 1",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    tasks.stop();
}

#[tokio::test]
async fn a_stream_takes_many_questions_at_once_and_only_whole_ones() {
    let (tasks, mut registry) = (Tasks::new(), machinery::metrics::registry());
    let (port, address) = server(&mut registry, &tasks).await;
    let connect = async || TcpStream::connect(address).await.unwrap();
    let mut stream = connect().await;
    let all: Vec<u8> = (0..100).flat_map(|id| framed(&query(id, "small.corp."))).collect();
    // In pieces that are no messages.
    for piece in all.chunks(77) {
        stream.write_all(piece).await.unwrap();
    }
    let mut ids = Vec::new();
    for _ in 0..100 {
        ids.push(answer(&mut stream).await.metadata.id);
    }
    ids.sort_unstable();
    assert_eq!(ids, (0..100).collect::<Vec<u16>>());

    // Whoever connects and says nothing leaves others room.
    let mut silent = Vec::new();
    for _ in 0..MAX_STREAMS + 1 {
        silent.push(connect().await);
    }
    let mut next = connect().await;
    next.write_all(&framed(&query(7, "small.corp."))).await.unwrap();
    assert_eq!(answer(&mut next).await.metadata.id, 7);
    closed(stream).await;
    drop(silent);

    let mut cut = connect().await;
    cut.write_all(&framed(&query(1, "small.corp."))[..20]).await.unwrap();
    cut.shutdown().await.unwrap();
    closed(cut).await;
    let mut large = connect().await;
    large.write_all(&(LARGEST_QUESTION + 1).to_be_bytes()).await.unwrap();
    closed(large).await;
    // Who is connected when the port is given up is let go.
    let open = connect().await;
    drop(port);
    closed(open).await;
    tasks.stop();
}
