use super::*;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

#[test]
fn who_is_met_again_takes_nobody_elses_place() {
    let strangers = Strangers::new(1);
    let known = strangers.arrive(HERE);
    known.met();
    assert!(strangers.by_source.lock().is_empty(), "nobody is waiting");
    let first = strangers.arrive(HERE);
    // Its next request, and its end.
    known.met();
    drop(known);
    let second = strangers.arrive(HERE);
    assert!(first.sent_away.is_cancelled() && !second.sent_away.is_cancelled());
    drop(second);
    assert!(strangers.by_source.lock().is_empty());
}

#[test]
fn an_address_is_one_however_it_is_written() {
    let strangers = Strangers::new(1);
    let first = strangers.arrive(HERE);
    let mapped = strangers.arrive("::ffff:127.0.0.1".parse().unwrap());
    let other = strangers.arrive("127.0.0.2".parse().unwrap());
    assert!(first.sent_away.is_cancelled());
    assert!(!mapped.sent_away.is_cancelled() && !other.sent_away.is_cancelled());
}
