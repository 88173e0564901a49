use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::{Cache, Settings};
use crate::reply::{Question, Reply, authority};

fn question(at: usize) -> Question {
    Question {
        name: Name::from_ascii(format!("n{at}.example.org.")).unwrap(),
        kind: RecordType::A,
        dnssec: false,
    }
}

fn found(question: &Question, ttl: u32) -> Reply {
    let data = RData::A(std::net::Ipv4Addr::new(192, 0, 2, 1).into());
    Reply::records(vec![Record::from_rdata(question.name.clone(), ttl, data)])
}

fn cache(change: impl FnOnce(&mut Settings)) -> Cache {
    let mut settings = Settings { zones: vec![Name::root()], ..Settings::default() };
    change(&mut settings);
    Cache::new(settings)
}

#[test]
fn an_answer_is_kept_as_long_as_it_lives() {
    let (cache, asked, mut now) = (cache(|_| ()), question(1), Instant::now());
    assert!(cache.get(&asked, now).is_none());
    cache.put(&asked, &found(&asked, 60), now);
    now += Duration::from_secs(20);
    assert_eq!(cache.get(&asked, now).unwrap().answers[0].ttl, 40);
    assert!(cache.get(&Question { kind: RecordType::AAAA, ..asked.clone() }, now).is_none());
    now += Duration::from_secs(40);
    assert!(cache.get(&asked, now).is_none());
}

#[test]
fn denials_live_as_long_as_the_zone_says_and_failures_briefly() {
    let (cache, asked, mut now) = (cache(|_| ()), question(1), Instant::now());
    let zone = Name::from_ascii("example.org.").unwrap();
    cache.put(&asked, &Reply::nothing(ResponseCode::NXDomain, &zone, 30), now);
    now += Duration::from_secs(29);
    assert_eq!(cache.get(&asked, now).unwrap().code, ResponseCode::NXDomain);
    now += Duration::from_secs(1);
    assert!(cache.get(&asked, now).is_none());

    cache.put(&asked, &Reply::empty(ResponseCode::NXDomain), now);
    assert!(cache.get(&asked, now).is_none(), "nobody said for how long");
    cache.put(&asked, &Reply::empty(ResponseCode::ServFail), now);
    assert!(cache.get(&asked, now).is_some());
    now += Duration::from_secs(5);
    assert!(cache.get(&asked, now).is_none());
    cache.put(&asked, &Reply { truncated: true, ..found(&asked, 60) }, now);
    assert!(cache.get(&asked, now).is_none(), "half an answer is none");
    let record = authority(&zone, 30);
    assert_eq!(super::denied_for(&record), Some(30));
}

#[test]
fn the_corefile_bounds_what_is_kept() {
    let (asked, mut now) = (question(1), Instant::now());
    let disabled =
        cache(|settings| settings.success.disabled = vec![Name::from_ascii("example.org.").unwrap()]);
    disabled.put(&asked, &found(&asked, 60), now);
    assert!(disabled.get(&asked, now).is_none());

    let short = cache(|settings| settings.success.longest = 30);
    short.put(&asked, &found(&asked, 3600), now);
    now += Duration::from_secs(30);
    assert!(short.get(&asked, now).is_none());

    let small = cache(|settings| settings.success.capacity = 16);
    for at in 0..100 {
        small.put(&question(at), &found(&question(at), 60), now);
        assert!(small.success.lock().len() <= 16);
        assert!(small.get(&question(at), now).is_some(), "the newest is kept");
    }
}
