use std::time::SystemTime;

use super::*;

/// A certificate that holds until so many seconds after 1970.
fn authority(until: u64) -> CertificateDer<'static> {
    let mut parameters = rcgen::CertificateParams::default();
    parameters.not_before = SystemTime::UNIX_EPOCH.into();
    parameters.not_after = (SystemTime::UNIX_EPOCH + Duration::from_secs(until)).into();
    let key = rcgen::KeyPair::generate().expect("there is randomness");
    parameters.self_signed(&key).expect("is a certificate").der().clone()
}

fn data(value: Value) -> Data {
    value.as_object().cloned().expect("is an object")
}

#[test]
fn servers_add_what_they_trust_until_it_ends() {
    let (ours, theirs, old) = (authority(9000), authority(9000), authority(4000));
    let told = |all: &[&CertificateDer<'_>]| {
        let text: String = all.iter().map(|one| pem(one)).collect();
        data(json!({CLIENT_CA: text}))
    };
    let proxy = data(json!({PROXY_CA: "ca", "requestheader-allowed-names": "[\"front\"]"}));
    let own = [ours.clone()];
    for (what, before, own, expected) in [
        ("nothing", Data::new(), &[][..], Data::new()),
        ("our own", Data::new(), &own, told(&[&ours])),
        ("once", told(&[&ours]), &own, told(&[&ours])),
        ("theirs first", told(&[&theirs]), &own, told(&[&theirs, &ours])),
        ("theirs alone", told(&[&theirs]), &[], told(&[&theirs])),
        ("what has ended", told(&[&old, &theirs]), &own, told(&[&theirs, &ours])),
        ("what is none", data(json!({CLIENT_CA: "x", "other": "y"})), &own, told(&[&ours])),
        ("a proxy", proxy.clone(), &[], proxy.clone()),
        ("a proxy without authority", data(json!({"requestheader-allowed-names": "[]"})), &[], Data::new()),
    ] {
        assert_eq!(trusted(&before, own, None, 4301), expected, "{what}");
    }
    assert_eq!(trusted(&told(&[&old]), &[], None, 4299), told(&[&old]), "just ended");
    let text = pem(&ours);
    assert_eq!(CertificateDer::from_pem_slice(text.as_bytes()).expect("is PEM"), ours);
    assert!(text.lines().all(|line| line.len() <= 64) && text.ends_with("-----\n"));
}

#[test]
fn the_day_is_said_once() {
    let now: Timestamp = "2026-03-04T23:59:59Z".parse().expect("is a time");
    for (before, since) in [
        (json!({}), "2026-03-04"),
        (json!({"since": "2020-01-02"}), "2020-01-02"),
        (json!({"since": "2020-13-02"}), "2026-03-04"),
        (json!({"since": "2020-01-02T00:00:00Z"}), "2026-03-04"),
        (json!({"since": ""}), "2026-03-04"),
    ] {
        assert_eq!(tracked(&data(before), now), data(json!({"since": since})));
    }
}

#[test]
fn servers_add_what_their_front_proxies_are() {
    let ca = authority(9000);
    let of_proxy = (vec![ca.clone()], &["front".to_owned()][..]);
    let first = trusted(&Data::new(), &[], Some(&of_proxy), 4301);
    let expected = data(json!({
        PROXY_CA: pem(&ca),
        "requestheader-allowed-names": "[\"front\"]",
        "requestheader-extra-headers-prefix": "[\"X-Remote-Extra-\"]",
        "requestheader-group-headers": "[\"X-Remote-Group\"]",
        "requestheader-uid-headers": "[\"X-Remote-Uid\"]",
        "requestheader-username-headers": "[\"X-Remote-User\"]",
    }));
    assert_eq!(first, expected);
    assert_eq!(trusted(&first, &[], Some(&of_proxy), 4301), expected, "once");
    let other = (vec![], &["other".to_owned()][..]);
    let both = trusted(&first, &[], Some(&other), 4301);
    assert_eq!(both["requestheader-allowed-names"], "[\"front\",\"other\"]");
    assert_eq!(both[PROXY_CA], expected[PROXY_CA]);
}
