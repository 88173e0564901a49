use super::*;

#[test]
fn special_addresses_are_known_in_every_dress() {
    for (text, expected) in [
        ("127.0.0.1", Some(Special::Loopback)),
        ("127.255.0.9", Some(Special::Loopback)),
        ("::1", Some(Special::Loopback)),
        ("::ffff:127.0.0.1", Some(Special::Loopback)),
        ("::ffff:7f00:1", Some(Special::Loopback)),
        ("0.0.0.0", Some(Special::Unspecified)),
        ("::", Some(Special::Unspecified)),
        ("::ffff:0.0.0.0", Some(Special::Unspecified)),
        ("169.254.169.254", Some(Special::LinkLocal)),
        ("::ffff:169.254.169.254", Some(Special::LinkLocal)),
        ("fe80::1", Some(Special::LinkLocal)),
        ("febf::1", Some(Special::LinkLocal)),
        ("224.0.0.251", Some(Special::LinkLocalMulticast)),
        ("ff02::1", Some(Special::LinkLocalMulticast)),
        ("ff32::1", Some(Special::LinkLocalMulticast)),
        ("239.1.2.3", Some(Special::Multicast)),
        ("::ffff:239.1.2.3", Some(Special::Multicast)),
        ("ff05::1", Some(Special::Multicast)),
        ("255.255.255.255", Some(Special::Broadcast)),
        ("10.1.2.3", None),
        ("240.0.0.1", None),
        ("2001:db8::1", None),
        ("fd00::1", None),
        ("::ffff:10.1.2.3", None),
    ] {
        assert_eq!(special(text.parse().unwrap()), expected, "{text}");
    }
}

#[test]
fn only_addresses_of_other_machines_are_dialled() {
    for (text, dialled) in [
        ("10.1.2.3", "10.1.2.3"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("2001:db8::1", "2001:db8::1"),
        ("64:ff9b::10.1.2.3", "64:ff9b::a01:203"),
        ("203.0.113.1", "203.0.113.1"),
    ] {
        assert_eq!(Dialable::parse(text).map(|a| a.ip().to_string()), Ok(dialled.to_owned()), "{text}");
    }
    for text in [
        "",
        "localhost",
        "127.0.0.1",
        "127.1",
        "0177.0.0.1",
        "2130706433",
        "127.0.0.1:80",
        "::1",
        "[::1]",
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b::169.254.169.254",
        "0.0.0.0",
        "0.1.2.3",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "169.254.169.254",
        "224.0.0.1",
        "239.0.0.1",
        "ff02::1",
        "255.255.255.255",
    ] {
        assert_eq!(Dialable::parse(text), Err(NotAllowed), "{text}");
    }
}
