use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::{Rewrite, change};
use crate::reply::{Question, Reply};

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

/// What a question becomes by a rule, and under which name its answer comes back.
fn there_and_back(rules: &[&str], asked: &str) -> Option<(String, String)> {
    let rules: Vec<Rewrite> = rules
        .iter()
        .map(|rule| Rewrite::parse(&rule.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).unwrap())
        .collect();
    let mut question = Question { name: name(asked), kind: RecordType::A, dnssec: false };
    let changed = change(&rules, &mut question)?;
    let record =
        Record::from_rdata(question.name.clone(), 5, RData::A(std::net::Ipv4Addr::new(192, 0, 2, 1).into()));
    let mut reply = Reply::records(vec![record]);
    changed.undo(&mut reply);
    Some((question.name.to_string(), reply.answers[0].name.to_string()))
}

#[test]
fn names_are_changed_and_changed_back() {
    let both = |to: &str, back: &str| Some((to.to_owned(), back.to_owned()));
    for (rules, asked, expected) in [
        (
            &["name shop.example.org web.default.svc.cluster.local"][..],
            "shop.example.org.",
            both("web.default.svc.cluster.local.", "shop.example.org."),
        ),
        (&["name exact a.org b.org"], "x.a.org.", None),
        (
            &["name suffix .example.org .default.svc.cluster.local answer auto"],
            "web.example.org.",
            both("web.default.svc.cluster.local.", "web.example.org."),
        ),
        (
            &["name suffix .example.org .svc.cluster.local"],
            "web.example.org.",
            both("web.svc.cluster.local.", "web.svc.cluster.local."),
        ),
        (&["name prefix old- new-"], "old-web.org.", both("new-web.org.", "new-web.org.")),
        (&["name substring .dev. ."], "a.dev.org.", both("a.org.", "a.org.")),
        (
            &[
                r"stop name regex (.*)\.example\.org {1}.default.svc.cluster.local answer name (.*)\.default\.svc\.cluster\.local {1}.example.org",
            ],
            "web.example.org.",
            both("web.default.svc.cluster.local.", "web.example.org."),
        ),
        (&["continue name a.org b.org", "name b.org c.org"], "a.org.", both("c.org.", "a.org.")),
        (&["name a.org b.org", "name b.org c.org"], "a.org.", both("b.org.", "a.org.")),
    ] {
        assert_eq!(there_and_back(rules, asked), expected, "{rules:?} {asked}");
    }
}

#[test]
fn a_name_that_would_become_none_stays() {
    let long = format!("name regex (.*) {}.{{1}}", "a".repeat(64));
    assert_eq!(there_and_back(&[&long], "b.org."), None);
}

#[test]
fn types_are_changed() {
    let rule = Rewrite::parse(&["type", "ANY", "A"].map(str::to_owned)).unwrap();
    let mut question = Question { name: name("a.org."), kind: RecordType::ANY, dnssec: false };
    assert!(change(&[rule], &mut question).is_some());
    assert_eq!(question.kind, RecordType::A);
}
