use super::*;
use crate::testing::fake_api;
use api::Message;

fn config() -> LeaderConfig {
    LeaderConfig { identity: "me".into(), ..LeaderConfig::new("scheduler") }
}

fn time(seconds: i64) -> Option<MicroTime> {
    Some(MicroTime(Timestamp::from_second(seconds).unwrap()))
}

fn lease(holder: &str, transitions: i32) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(holder.into()),
        lease_duration_seconds: Some(15),
        acquire_time: time(100),
        renew_time: time(110),
        lease_transitions: Some(transitions),
        ..LeaseSpec::default()
    }
}

/// Decides about a lease that has looked so for some seconds, at second 200.
fn decided(spec: Option<LeaseSpec>, seconds: u64, gone: bool) -> Decision {
    let since = Instant::now();
    let observed = spec.map(|spec| Observed { spec, since });
    let wall_clock = Timestamp::from_second(200).unwrap();
    decide(&config(), observed.as_ref(), gone, since + Duration::from_secs(seconds), wall_clock)
}

fn taken(acquired: i64, transitions: i32) -> Decision {
    let times = LeaseSpec { acquire_time: time(acquired), renew_time: time(200), ..lease("me", transitions) };
    Decision::Write(times)
}

#[test]
fn decisions() {
    let released = LeaseSpec { lease_duration_seconds: Some(1), ..lease("", 3) };
    let short = LeaseSpec { lease_duration_seconds: Some(4), ..lease("other", 3) };
    let cases = [
        ("no lease", None, 0, false, taken(200, 0)),
        ("an empty lease", Some(LeaseSpec::default()), 0, false, taken(200, 0)),
        ("my own", Some(lease("me", 3)), 1, false, taken(100, 3)),
        ("my own, late", Some(lease("me", 3)), 60, false, taken(100, 3)),
        ("another's", Some(lease("other", 3)), 14, false, Decision::Wait),
        ("another's, expired", Some(lease("other", 3)), 15, false, taken(200, 4)),
        ("another's with its own duration", Some(short), 4, false, taken(200, 4)),
        ("another's who is known to have ended", Some(lease("other", 3)), 0, true, taken(200, 4)),
        ("a released one", Some(released), 0, false, taken(200, 4)),
    ];
    for (name, spec, seconds, gone, expected) in cases {
        assert_eq!(decided(spec, seconds, gone), expected, "{name}");
    }
}

#[test]
fn only_a_process_of_this_machine_can_be_known_to_have_ended() {
    let me = Process::current();
    assert_eq!(Process::from_identity(&me.identity()), Some(me.clone()));
    assert!(!me.is_gone());
    let before_me = Process { started: "1".into(), ..me.clone() };
    assert!(before_me.is_gone(), "another process had this id");
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let child_id = child.id();
    child.wait().unwrap();
    assert!(Process { pid: child_id, ..me.clone() }.is_gone());
    assert!(!Process { machine: "elsewhere.1".into(), ..before_me }.is_gone());
    let upstreams = Process::from_identity("vm_0a1b2c3d-0000-4000-8000-000000000000");
    assert!(upstreams.is_none_or(|process| !process.is_gone()));
}

#[test]
fn only_a_leader_whose_lease_ran_out_is_ill() {
    let leadership = Leadership::new(config());
    let start = Instant::now();
    let after = |seconds| leadership.check_at(start + Duration::from_secs(seconds));
    assert_eq!(after(100), Ok(()), "who waits for its turn is well");
    *leadership.renewed.lock() = Some(start);
    assert_eq!(after(35), Ok(()), "it may still be about to stop by itself");
    let words = "failed election to renew leadership on lease scheduler";
    assert_eq!(after(36), Err(Message::from(words.to_owned())));
    *leadership.renewed.lock() = None;
    assert_eq!(after(36), Ok(()), "it gave up");
}

#[tokio::test]
async fn who_may_have_lost_the_lease_writes_no_more() {
    let leadership = Leadership::new(config());
    let client = leadership.fenced(fake_api::client(|_, _| Some(serde_json::json!({}))));
    let write = async || {
        let request = http::Request::post("/api/v1/nodes").body(b"{}".to_vec()).unwrap();
        client.request::<serde_json::Value>(request).await.map_err(|error| chain(&error))
    };
    let (sure, late) = (Duration::from_secs(9), Duration::from_secs(11));
    *leadership.renewed.lock() = Instant::now().checked_sub(sure);
    write().await.unwrap();
    *leadership.renewed.lock() = Instant::now().checked_sub(late);
    let refused = write().await.unwrap_err();
    assert!(refused.contains("the lease may be another's by now"), "{refused}");
    // Reading goes on.
    let read = http::Request::get("/api/v1/nodes").body(b"{}".to_vec()).unwrap();
    client.request::<serde_json::Value>(read).await.unwrap();
    *leadership.renewed.lock() = None;
    write().await.unwrap_err();
}

#[test]
fn it_is_told_who_leads() {
    let mut registry = crate::metrics::registry();
    let leadership = Leadership::new(config()).told_to(&mut registry);
    for (renewed, value) in [(None, 0), (Some(Instant::now()), 1)] {
        *leadership.renewed.lock() = renewed;
        let line = format!("leader_election_master_status{{name=\"scheduler\"}} {value}");
        let text = crate::metrics::text(&registry);
        assert!(text.lines().any(|found| found == line), "{line}:\n{text}");
    }
}
