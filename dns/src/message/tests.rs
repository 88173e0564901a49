use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::Asked;
use crate::reply::Reply;

fn query(change: impl FnOnce(&mut Message)) -> Vec<u8> {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii("Web.Shop.SVC.cluster.local.").unwrap(), RecordType::A));
    change(&mut message);
    message.to_vec().unwrap()
}

fn many(count: u8) -> Reply {
    let record = |last| {
        let name = Name::from_ascii("web.shop.svc.cluster.local.").unwrap();
        Record::from_rdata(name, 5, RData::A(std::net::Ipv4Addr::new(10, 0, 0, last).into()))
    };
    Reply::records((0..count).map(record).collect())
}

fn answered(asked: &Asked, reply: Reply, room: u16) -> Message {
    Message::from_vec(&asked.answer(reply, room).unwrap()).unwrap()
}

#[test]
fn the_answer_repeats_the_question_as_it_was_written() {
    let asked = Asked::read(&query(|_| ())).unwrap();
    assert_eq!(asked.question.as_ref().unwrap().name.to_string(), "web.shop.svc.cluster.local.");
    let answer = answered(&asked, many(2), asked.room());
    assert_eq!((answer.metadata.id, answer.answers.len()), (7, 2));
    assert!(answer.queries[0].name().eq_case(&Name::from_ascii("Web.Shop.SVC.cluster.local.").unwrap()));
    assert!(answer.metadata.recursion_desired && answer.metadata.recursion_available);
    assert!(answer.metadata.authoritative && answer.edns.is_none());
}

#[test]
fn what_does_not_fit_is_cut_and_said_to_be() {
    let asked = Asked::read(&query(|_| ())).unwrap();
    assert_eq!(asked.room(), 512);
    let bytes = asked.answer(many(100), 512).unwrap();
    let answer = Message::from_vec(&bytes).unwrap();
    assert!(bytes.len() <= 512 && answer.metadata.truncation && answer.answers.len() < 100);
    assert!(!answered(&asked, many(100), u16::MAX).metadata.truncation);

    for (told, room) in [(1232, 1232), (100, 512), (65535, 4096)] {
        let asked = Asked::read(&query(|message| {
            let mut edns = Edns::new();
            edns.set_max_payload(told);
            message.set_edns(edns);
        }))
        .unwrap();
        assert_eq!(asked.room(), room);
        let bytes = asked.answer(many(250), room).unwrap();
        assert!(bytes.len() <= room.into());
        assert!(Message::from_vec(&bytes).unwrap().metadata.truncation || room == 4096);
    }
}

#[test]
fn what_is_no_question_gets_the_code_for_it_or_nothing() {
    let code = |bytes: &[u8]| Asked::read(bytes).map(|asked| asked.question.err());
    assert_eq!(code(&query(|_| ())), Some(None));
    assert_eq!(
        code(&query(|message| message.metadata.op_code = OpCode::Update)),
        Some(Some(ResponseCode::NotImp))
    );
    assert_eq!(code(&query(|message| message.queries.clear())), Some(Some(ResponseCode::FormErr)));
    assert_eq!(
        code(&query(|message| {
            let twice = message.queries[0].clone();
            message.add_query(twice);
        })),
        Some(Some(ResponseCode::FormErr))
    );
    assert_eq!(
        code(&query(|message| {
            let mut edns = Edns::new();
            edns.set_version(1);
            message.set_edns(edns);
        })),
        Some(Some(ResponseCode::BADVERS))
    );
    // Nobody is answered who answers: two servers would go on for ever.
    assert_eq!(code(&query(|message| message.metadata.message_type = MessageType::Response)), None);
    assert_eq!(code(b"x"), None);
    let whole = query(|_| ());
    for length in 0..whole.len() {
        let cut = Asked::read(&whole[..length]);
        assert!(cut.is_none_or(|asked| asked.question == Err(ResponseCode::FormErr)), "{length} bytes");
    }
    // A name that leads to itself.
    let mut looped = whole[..12].to_vec();
    looped.extend([0xc0, 12, 0, 1, 0, 1]);
    assert_eq!(code(&looped), Some(Some(ResponseCode::FormErr)));

    // Sections that no question has are not read, whatever is in them: here names that lead to each other.
    let mut hostile = whole.clone();
    while hostile.len() < 65_000 {
        let before = u16::try_from(hostile.len().min(0x3ff0) - 12).unwrap();
        hostile.extend((0xc000 | before).to_be_bytes());
        hostile.extend([0, 1, 0, 1, 0, 0, 0, 0, 0, 0]);
    }
    for (section, count) in [(4, 0), (4, 2), (6, 1), (8, 1), (10, 3), (10, 5000)] {
        let mut sections = hostile.clone();
        sections[section..section + 2].copy_from_slice(&u16::to_be_bytes(count));
        assert_eq!(code(&sections), Some(Some(ResponseCode::FormErr)), "{count} at {section}");
    }
    // What comes with a question is not kept.
    let asked = Asked::read(&query(|message| message.additionals = many(1).answers)).unwrap();
    assert!(asked.question.is_ok() && asked.message.additionals.is_empty());
}
