use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;

use super::Chain;
use crate::corefile;
use crate::kubernetes::Feeds;
use crate::reply::Question;

/// A server that knows every name's address, and how often it was asked.
async fn upstream() -> (std::net::SocketAddr, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let count = std::sync::Arc::<std::sync::atomic::AtomicUsize>::default();
    let asked = std::sync::Arc::clone(&count);
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let asked = Message::from_vec(&buffer[..length]).unwrap();
            let mut message = Message::new(asked.metadata.id, MessageType::Response, OpCode::Query);
            message.queries.clone_from(&asked.queries);
            let data = RData::A(std::net::Ipv4Addr::new(192, 0, 2, 1).into());
            message.add_answer(Record::from_rdata(asked.queries[0].name().clone(), 60, data));
            socket.send_to(&message.to_vec().unwrap(), from).await.unwrap();
        }
    });
    (address, count)
}

fn chain(corefile: &str) -> Chain {
    let server = corefile::parse(corefile).unwrap().remove(0);
    Chain::new(server, Some(Feeds::fixed(vec![], vec![], vec![], vec![]).index())).unwrap()
}

fn question(name: &str) -> Question {
    Question { name: Name::from_ascii(name).unwrap(), kind: RecordType::A, dnssec: false }
}

fn names(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| format!("{} {}", record.name, record.data)).collect()
}

#[tokio::test]
async fn a_question_goes_from_link_to_link_in_their_order() {
    let (address, count) = upstream().await;
    let chain = chain(&format!(
        ".:53 {{\n forward . {address}\n cache 30\n kubernetes cluster.local\n hosts {{\n  192.0.2.9 db.corp\n  fallthrough\n }}\n \
         template IN A blocked {{\n  rcode REFUSED\n }}\n rewrite name old.corp db.corp\n}}"
    ));
    let ask = async |name: &str| chain.answer(&question(name), false).await;
    assert_eq!(names(&ask("db.corp.").await.answers), ["db.corp. 192.0.2.9"]);
    assert_eq!(names(&ask("old.corp.").await.answers), ["old.corp. 192.0.2.9"]);
    assert_eq!(ask("x.blocked.").await.code, ResponseCode::Refused);
    assert_eq!(ask("web.shop.svc.cluster.local.").await.code, ResponseCode::NXDomain);
    assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), 0);
    assert_eq!(chain.at_once(&question("www.example.org.")), None);
    assert_eq!(names(&ask("www.example.org.").await.answers), ["www.example.org. 192.0.2.1"]);
    assert_eq!(names(&ask("www.example.org.").await.answers), ["www.example.org. 192.0.2.1"]);
    assert!(chain.at_once(&question("www.example.org.")).is_some(), "it is remembered");
    assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_name_of_ours_that_leads_elsewhere_is_followed() {
    let (address, _) = upstream().await;
    let chain = chain(&format!(
        ".:53 {{\n template IN A corp {{\n  answer \"{{{{ .Name }}}} 60 IN CNAME www.example.org.\"\n }}\n forward . {address}\n}}"
    ));
    let reply = chain.answer(&question("web.corp."), false).await;
    assert_eq!(names(&reply.answers), ["web.corp. www.example.org.", "www.example.org. 192.0.2.1"]);
    // A circle of names ends.
    let circle =
        self::chain(".:53 {\n template IN A corp {\n  answer \"{{ .Name }} 60 IN CNAME {{ .Name }}\"\n }\n}");
    assert_eq!(circle.answer(&question("web.corp."), false).await.answers.len(), super::LONGEST_CHAIN + 1);
}

#[test]
fn addresses_change_places_and_what_leads_to_them_does_not() {
    let chain = chain(
        ".:53 {\n loadbalance\n template IN A corp {\n  answer \"{{ .Name }} 60 IN CNAME a.corp.\"\n  \
         answer \"a.corp. 60 IN A 192.0.2.1\"\n  answer \"a.corp. 60 IN A 192.0.2.2\"\n  answer \"a.corp. 60 IN A 192.0.2.3\"\n }\n}",
    );
    let orders: std::collections::HashSet<Vec<String>> =
        (0..200).map(|_| names(&chain.at_once(&question("web.corp.")).unwrap().answers)).collect();
    assert!(orders.len() > 1);
    for order in orders {
        assert_eq!((&*order[0], order.len()), ("web.corp. a.corp.", 4));
    }
}
