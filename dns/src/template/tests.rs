use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};

use super::{Template, record};
use crate::corefile::Fallthrough;
use crate::reply::Question;

fn ask(template: &Template, name: &str, kind: RecordType) -> Option<(ResponseCode, Vec<String>)> {
    let question = Question { name: Name::from_ascii(name).unwrap(), kind, dnssec: false };
    let reply = template.reply(&question)?;
    Some((
        reply.code,
        reply
            .answers
            .iter()
            .map(|record| format!("{} {} {}", record.name, record.ttl, record.data))
            .collect(),
    ))
}

#[test]
fn answers_are_made_of_the_question() {
    let zone = Name::from_ascii("example.").unwrap();
    let mut template = Template::new(Some(RecordType::A), vec![zone.clone()]);
    template.matching(r"^ip-(?P<a>[0-9]+)-(?P<b>[0-9]+)\.example\.$").unwrap();
    template.answer("{{ .Name }} 60 IN A 192.0.{{ .Group.a }}.{{ index .Match 2 }}").unwrap();
    let found = vec!["ip-2-7.example. 60 192.0.2.7".to_owned()];
    assert_eq!(ask(&template, "ip-2-7.example.", RecordType::A), Some((ResponseCode::NoError, found)));
    assert_eq!(ask(&template, "ip-2-7.example.", RecordType::AAAA), None);
    assert_eq!(ask(&template, "ip-2-7.example.org.", RecordType::A), None);
    assert_eq!(ask(&template, "web.example.", RecordType::A), Some((ResponseCode::NXDomain, vec![])));
    // What makes no record is our failure, not the caller's.
    assert_eq!(ask(&template, "ip-2-700.example.", RecordType::A), Some((ResponseCode::ServFail, vec![])));
    template.fallthrough = Fallthrough(vec![zone]);
    assert_eq!(ask(&template, "web.example.", RecordType::A), None);
}

#[test]
fn a_code_alone_is_an_answer() {
    let mut template = Template::new(None, vec![Name::from_ascii("invalid.").unwrap()]);
    template.code("NXDOMAIN").unwrap();
    assert_eq!(ask(&template, "x.invalid.", RecordType::TXT), Some((ResponseCode::NXDomain, vec![])));
    assert!(template.code("WHATEVER").is_err());
}

#[test]
fn records_are_read_as_zone_files_have_them() {
    for (text, expected) in [
        ("a.org. 60 IN A 192.0.2.1", Ok("a.org. 60 192.0.2.1")),
        ("a.org IN 60 CNAME b.org.", Ok("a.org. 60 b.org.")),
        ("a.org. MX 10 mail.a.org.", Ok("a.org. 3600 10 mail.a.org.")),
        ("a.org. 60 IN", Err("'' is no type of records")),
        ("a.org. 60 IN NOPE x", Err("'NOPE' is no type of records")),
    ] {
        let read = record(text).map(|record| format!("{} {} {}", record.name, record.ttl, record.data));
        assert_eq!(read.as_deref().map_err(|why| &**why), expected, "{text}");
    }
}
