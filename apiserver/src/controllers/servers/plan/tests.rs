use serde_json::json;

use super::*;

const LASTS: Duration = Duration::from_secs(15);

fn lease(address: &str, revision: Revision) -> Held {
    let address = address.parse().expect("is an address");
    Held { name: lease_name(address), revision, address, lasts: LASTS }
}

#[test]
fn only_addresses_that_endpoints_may_have_are_published() {
    let published = |address: &str| publishable(address.parse().expect("is an address"));
    for address in ["192.168.1.1", "10.0.0.1", "fd00::1"] {
        assert_eq!(published(address).ok(), address.parse().ok());
    }
    for address in ["127.0.0.1", "::1", "169.254.1.1", "fe80::1", "0.0.0.0"] {
        assert!(published(address).is_err_and(|why| why.starts_with(address)), "{address}");
    }
}

#[test]
fn a_lease_is_that_of_a_server_if_its_name_and_address_are() {
    let name = |address: &str| lease_name(address.parse().expect("is an address"));
    let of_its_own = |address: &str, seconds: i64| {
        let spec = json!({"holderIdentity": address, "leaseDurationSeconds": seconds});
        held(&name(address), 7, &json!({"spec": spec}))
    };
    assert_eq!(of_its_own("10.0.0.1:6443", 15), Some(lease("10.0.0.1:6443", 7)));
    assert_eq!(of_its_own("[fd00::1]:6443", 15), Some(lease("[fd00::1]:6443", 7)));
    assert_eq!(of_its_own("10.0.0.1:6443", 2_147_483_647).map(|held| held.lasts), Some(LASTS_AT_MOST));
    assert_eq!(of_its_own("10.0.0.1:6443", -1), None);
    for address in ["127.0.0.1:1", "169.254.1.1:6443", "0.0.0.0:6443", "10.0.0.1:0", "[fd00::1%7]:6443"] {
        assert_eq!(of_its_own(address, 15), None, "{address}");
    }
    let spec = json!({"holderIdentity": "1.1.1.1:1", "leaseDurationSeconds": 15});
    assert_eq!(held("mine", 7, &json!({"spec": spec})), None);
    assert_eq!(held(&name("1.1.1.1:1"), 7, &json!({"spec": {"holderIdentity": "me"}})), None);
}

/// One look after another, at the Leases of others as they are then: at which second, how long ago this server has
/// renewed its own; who is removed, who is listed, and the second of the next end.
#[test]
fn a_lease_runs_out_when_it_has_not_changed_for_as_long_as_it_lasts() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let [own, a, b] = ["10.0.0.9:6443", "10.0.0.1:6443", "10.0.0.2:6443"];
    let mut memory = Memory::default();
    type Look<'a> = (u64, Option<u64>, &'a [(&'a str, Revision)], &'a [&'a str], &'a [&'a str], Option<u64>);
    let looks: &[Look<'_>] = &[
        (0, None, &[(a, 5), (b, 6), (own, 4)], &[], &[own, a, b], Some(15)),
        (10, Some(0), &[(a, 9), (b, 6), (own, 4)], &[], &[own, a, b], Some(15)),
        (15, Some(10), &[(a, 9), (b, 6), (own, 8)], &[b], &[own, a], Some(25)),
        // It came back meanwhile.
        (16, Some(10), &[(a, 9), (b, 12), (own, 8)], &[], &[own, a, b], Some(25)),
        // Who was away has not seen whether they were renewed.
        (90, Some(10), &[(a, 9), (b, 12)], &[], &[own, a, b], Some(105)),
        // This server's own Lease is nobody else's to judge, and here it is listed though the cache lags.
        (91, Some(90), &[], &[], &[own], None),
    ];
    for (second, renewed, leases, remove, stay, next) in looks {
        memory.renewed = renewed.map(at);
        let own = Own::new(own.parse().expect("is an address"), LASTS);
        let leases: Vec<Held> = leases.iter().map(|(address, revision)| lease(address, *revision)).collect();
        memory.observe(&own, &leases, at(*second));
        let plan = memory.plan(&own, &leases, at(*second));
        let removed: Vec<String> = plan.remove.iter().map(|held| held.address.to_string()).collect();
        let stayed: Vec<String> = plan.stay.iter().map(SocketAddr::to_string).collect();
        assert_eq!(
            (removed, stayed),
            (
                remove.iter().map(ToString::to_string).collect(),
                stay.iter().map(ToString::to_string).collect()
            ),
            "second {second}"
        );
        assert_eq!(plan.next, next.map(at), "second {second}");
    }
    assert!(memory.seen.is_empty());
}

#[test]
fn a_lease_is_renewed_in_time_and_when_it_is_missing() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let present = lease("10.0.0.1:6443", 1);
    let (own, present) = (Own::new(present.address, LASTS), [present]);
    for (second, renewed, leases, expected) in [
        (0, None, &present[..], true),
        (9, Some(0), &present, false),
        (10, Some(0), &present, true),
        (1, Some(0), &[], true),
    ] {
        let memory = Memory { renewed: renewed.map(at), ..Memory::default() };
        assert_eq!(memory.is_due(&own, leases, at(second)), expected, "second {second}");
    }
}

#[test]
fn servers_are_listed_in_order_and_with_one_port() {
    let addresses = |texts: &[&str]| -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().expect("is an address")).collect()
    };
    let all = ["10.0.0.10:6443", "10.0.0.9:6443", "10.0.0.9:7443", "[fd00::1]:6443", "10.0.0.9:6443"];
    let expected = addresses(&["10.0.0.9:6443", "10.0.0.10:6443"]);
    assert_eq!(listed(addresses(&all)), expected);
    assert_eq!(listed([]), []);
    assert_ne!(lease_name(expected[0]), lease_name(expected[1]));
}
