use std::net::SocketAddr;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;

use super::{Forward, Policy, Settings, nameservers};
use crate::reply::Question;

fn question() -> Question {
    Question { name: Name::from_ascii("www.example.org.").unwrap(), kind: RecordType::A, dnssec: false }
}

fn forward(servers: &[SocketAddr]) -> Forward {
    let to = servers.iter().map(ToString::to_string).collect();
    Forward::new(Settings { policy: Policy::Sequential, ..Settings::new(Name::root(), to) }).unwrap()
}

fn answer(asked: &Message, last: u8) -> Message {
    let mut message = Message::new(asked.metadata.id, MessageType::Response, OpCode::Query);
    message.queries.clone_from(&asked.queries);
    let data = RData::A(std::net::Ipv4Addr::new(192, 0, 2, last).into());
    message.add_answer(Record::from_rdata(question().name, 60, data));
    message
}

/// A server that answers a question with the messages that `make` makes of it.
async fn upstream(make: impl Fn(&Message) -> Vec<Message> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            for message in make(&Message::from_vec(&buffer[..length]).unwrap()) {
                socket.send_to(&message.to_vec().unwrap(), from).await.unwrap();
            }
        }
    });
    address
}

#[tokio::test]
async fn only_the_answer_to_the_question_counts() {
    let address = upstream(|asked| {
        let mut other_number = answer(asked, 66);
        other_number.metadata.id ^= 1;
        let mut other_name = answer(asked, 67);
        other_name.queries =
            vec![Query::query(Name::from_ascii("evil.example.org.").unwrap(), RecordType::A)];
        let mut a_question = answer(asked, 68);
        a_question.metadata.message_type = MessageType::Query;
        vec![other_number, other_name, a_question, answer(asked, 1)]
    })
    .await;
    let reply = forward(&[address]).ask(&question(), false).await;
    assert_eq!(reply.answers[0].data.to_string(), "192.0.2.1");
}

#[tokio::test]
async fn the_next_server_is_asked_when_one_does_not_answer() {
    let closed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let address = upstream(|asked| vec![answer(asked, 2)]).await;
    let reply = forward(&[closed, address]).ask(&question(), false).await;
    assert_eq!(reply.answers[0].data.to_string(), "192.0.2.2");
    assert_eq!(forward(&[closed]).ask(&question(), false).await.code, ResponseCode::ServFail);
    assert_eq!(forward(&[]).ask(&question(), false).await.code, ResponseCode::ServFail);
}

#[tokio::test]
async fn no_more_are_asked_at_a_time_than_the_corefile_says() {
    let silent = upstream(|_| Vec::new()).await;
    let settings = Settings { max_concurrent: 1, ..Settings::new(Name::root(), vec![silent.to_string()]) };
    let forward = Forward::new(settings).unwrap();
    let asked = question();
    let (first, second) = tokio::join!(
        tokio::time::timeout(std::time::Duration::from_secs(1), forward.ask(&asked, false)),
        forward.ask(&asked, false),
    );
    assert!(first.is_err(), "nobody answers it");
    assert_eq!(second.code, ResponseCode::Refused);
}

#[test]
fn the_machine_itself_is_not_asked() {
    let text =
        "# resolver\nsearch lan\nnameserver 127.0.0.53\nnameserver 192.0.2.53\nnameserver ::1\nnameserver\n";
    assert_eq!(nameservers(text).collect::<Vec<_>>(), ["192.0.2.53:53".parse().unwrap()]);
}

#[test]
fn addresses_are_checked() {
    let refused = |to: &str| Forward::new(Settings::new(Name::root(), vec![to.into()])).err();
    assert_eq!(refused("ns.example.org"), Some("not an IP address or file: \"ns.example.org\"".into()));
    assert_eq!(refused("tls://192.0.2.1"), Some("not an IP address or file: \"tls://192.0.2.1\"".into()));
    assert_eq!(refused("dns://192.0.2.1:1053"), None);
}
