use std::time::Duration;

use hickory_proto::rr::{Name, RecordType};

use super::Hosts;
use crate::corefile::{Fallthrough, HostsSettings};
use crate::reply::{self, Question};

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn ask(hosts: &Hosts, asked: &str, kind: RecordType) -> String {
    match hosts.reply(&Question { name: name(asked), kind, dnssec: false }) {
        None => "others".into(),
        Some(reply) if reply.answers.is_empty() => reply::code(reply.code).into(),
        Some(reply) => {
            let data: Vec<String> = reply.answers.iter().map(|record| record.data.to_string()).collect();
            data.join(", ")
        }
    }
}

/// A file of a test's own.
fn file(test: &str, text: &str) -> std::path::PathBuf {
    let file = std::env::temp_dir().join(format!("dns-hosts-{test}-{}", std::process::id()));
    std::fs::write(&file, text).unwrap();
    file
}

#[test]
fn a_file_and_lines_are_names_and_addresses() {
    use RecordType::{A, AAAA, PTR};
    let file = file(
        "table",
        "192.0.2.1 db.corp DB2.corp # the first\nnonsense\n2001:db8::1 db.corp\n192.0.2.2 db.lan\n",
    );
    let lines = vec!["192.0.2.3 db.corp web.corp".split(' ').map(Into::into).collect()];
    let zones = vec![name("corp.")];
    let settings =
        HostsSettings { file: file.clone(), lines, zones, reverse: true, ..HostsSettings::default() };
    let hosts = Hosts::new(settings.clone());
    let open =
        HostsSettings { fallthrough: Fallthrough(vec![name("web.corp.")]), reverse: false, ..settings };
    let open = Hosts::new(open);
    std::fs::remove_file(file).unwrap();
    for (hosts, asked, kind, expected) in [
        (&hosts, "db.corp.", A, "192.0.2.1, 192.0.2.3"),
        (&hosts, "db.corp.", AAAA, "2001:db8::1"),
        (&hosts, "db2.corp.", A, "192.0.2.1"),
        (&hosts, "web.corp.", AAAA, "NOERROR"),
        (&hosts, "x.web.corp.", A, "NXDOMAIN"),
        (&open, "x.web.corp.", A, "others"),
        (&open, "x.corp.", A, "NXDOMAIN"),
        (&hosts, "db.lan.", A, "others"),
        // Its zones are not asked about addresses.
        (&hosts, "1.2.0.192.in-addr.arpa.", PTR, "db.corp., db2.corp."),
        (&hosts, "2.2.0.192.in-addr.arpa.", PTR, "others"),
        (&hosts, "2.0.192.in-addr.arpa.", PTR, "others"),
        (&hosts, "db.corp.", PTR, "others"),
        (&open, "1.2.0.192.in-addr.arpa.", PTR, "others"),
    ] {
        assert_eq!(ask(hosts, asked, kind), expected, "{asked} {kind}");
    }
}

#[test]
fn a_changed_file_is_read_again() {
    let file = file("reload", "192.0.2.1 a.corp\n");
    let settings =
        HostsSettings { file: file.clone(), zones: vec![Name::root()], ..HostsSettings::default() };
    let often = Hosts::new(HostsSettings { reload: Duration::from_nanos(1), ..settings.clone() });
    let never = Hosts::new(settings);
    assert_eq!(ask(&often, "a.corp.", RecordType::A), "192.0.2.1");
    std::fs::write(&file, "192.0.2.1 a.corp\n192.0.2.20 a.corp\n").unwrap();
    assert_eq!(ask(&often, "a.corp.", RecordType::A), "192.0.2.1, 192.0.2.20");
    std::fs::remove_file(file).unwrap();
    assert_eq!(ask(&often, "a.corp.", RecordType::A), "NXDOMAIN");
    assert_eq!(ask(&never, "a.corp.", RecordType::A), "192.0.2.1");
}
