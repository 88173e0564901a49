use super::*;

const NONE: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
const ZEROS: &str = "must not have leading 0s";
const MAPPED: &str = "must not be an IPv4-mapped IPv6 address";

#[test]
fn addresses_have_one_meaning() {
    for (text, strict, canonical) in [
        ("1.2.3.4", "", ""),
        ("010.0.0.1", ZEROS, ZEROS),
        ("10.0.0.01", ZEROS, ZEROS),
        ("10.0.0.00", ZEROS, ZEROS),
        ("::ffff:1.2.3.4", MAPPED, MAPPED),
        ("::FFFF:1.2.3.4", MAPPED, MAPPED),
        ("::ffff:102:304", MAPPED, MAPPED),
        ("::ffff:010.2.3.4", ZEROS, ZEROS),
        ("2001:00db8::1", ZEROS, ZEROS),
        ("::1", "", ""),
        ("FE80::ABC", "", r#"must be in canonical form ("fe80::abc")"#),
        ("2001:0db8::01", "", r#"must be in canonical form ("2001:db8::1")"#),
        ("1.2.3.4%eth0", NONE, NONE),
        ("fe80::1%eth0", NONE, NONE),
        ("1.2.3", NONE, NONE),
        (" 1.2.3.4", NONE, NONE),
        ("0x1.2.3.4", NONE, NONE),
        ("1.2.3.256", NONE, NONE),
        ("0a.2.3.4", NONE, NONE),
        ("1..3.4", NONE, NONE),
        (":::1", NONE, NONE),
        ("", NONE, NONE),
    ] {
        assert_eq!(
            (ip(text).join(";").as_str(), canonical_ip(text).join(";").as_str()),
            (strict, canonical),
            "{text}"
        );
    }
}

#[test]
fn ranges_have_one_meaning() {
    const NONE: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
    const ZEROS: &str = "must not have leading 0s in IP or prefix length";
    const BITS: &str = "must not have bits set beyond the prefix length";
    for (text, strict, canonical) in [
        ("10.0.0.0/8", "", ""),
        ("0.0.0.0/0", "", ""),
        ("010.0.0.0/8", ZEROS, ZEROS),
        ("10.0.0.0/08", ZEROS, ZEROS),
        ("10.0.0.1/8", BITS, BITS),
        ("2001:db8::1/32", BITS, BITS),
        (
            "::ffff:1.2.3.0/120",
            "must not have an IPv4-mapped IPv6 address",
            "must not have an IPv4-mapped IPv6 address",
        ),
        ("2001:DB8::/32", "", r#"must be in canonical form ("2001:db8::/32")"#),
        ("10.0.0.0/33", NONE, NONE),
        ("10.0.0.0/+8", NONE, NONE),
        ("10.0.0.0/", NONE, NONE),
        ("10.0.0.0", NONE, NONE),
        (" 10.0.0.0/8", NONE, NONE),
        ("", NONE, NONE),
    ] {
        assert_eq!(
            (cidr(text).join(";").as_str(), canonical_cidr(text).join(";").as_str()),
            (strict, canonical),
            "{text}"
        );
    }
    for (text, meant) in
        [("10.1.2.3/8", "10.0.0.0/8"), ("010.1.2.3/08", "10.0.0.0/8"), ("::ffff:1.2.3.4/120", "1.2.3.0/24")]
    {
        assert_eq!(range(text).map(|range| range.to_string()).as_deref(), Some(meant));
    }
    let zeros = |n| "0".repeat(n) + "10.0.0.0";
    assert!(loose_ip(&zeros(56)).is_some() && loose_ip(&zeros(57)).is_none());
}

#[test]
fn odd_forms_are_warned_of() {
    let at = Path::new("f");
    for (text, said) in [
        ("1.2.3.4", None),
        ("2001:db8::1", None),
        ("nonsense", None),
        ("010.0.0.1", Some(r#"f: non-standard IP address "010.0.0.1" is invalid: use "10.0.0.1""#)),
        ("::ffff:1.2.3.4", Some(r#"f: non-standard IP address "::ffff:1.2.3.4" is invalid: use "1.2.3.4""#)),
        (
            "FE80::ABC",
            Some(r#"f: IPv6 address "FE80::ABC" should be in RFC 5952 canonical format ("fe80::abc")"#),
        ),
    ] {
        assert_eq!(ip_warning(text, &at).as_deref(), said);
    }
    let said =
        r#"f: IPv6 CIDR value "2001:DB8::/32" should be in RFC 5952 canonical format ("2001:db8::/32")"#;
    assert_eq!(cidr_warning("2001:DB8::/32", &at).as_deref(), Some(said));
    assert_eq!(cidr_warning("10.0.0.0/8", &at), None);
}

#[test]
fn special_addresses_are_known_in_any_form() {
    for text in ["127.0.0.1", "::ffff:127.0.0.1", "0127.0.0.1", "::1", "0:0::01"] {
        assert_eq!(
            not_special_ip(text),
            ["may not be in the loopback range (127.0.0.0/8, ::1/128)"],
            "{text}"
        );
    }
    assert!(not_special_ip("::ffff:10.0.0.1").is_empty() && not_special_ip("10.0.0.1").is_empty());
}
