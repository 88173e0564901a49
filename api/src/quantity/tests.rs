#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn canonical(text: &str) -> String {
    text.parse::<Quantity>().unwrap().to_string()
}

#[test]
fn amounts_of_the_largest_quantities_add_up_and_come_apart_again() {
    let most = Amount::of("memory", &"9223372036854775807".parse().unwrap());
    let one = Amount::of("memory", &"1".parse().unwrap());
    assert!(most + one > most);
    assert_eq!(most + most + one - most - most, one);
    assert_eq!([most, most, one].into_iter().sum::<Amount>().to_string(), "18446744073709551615");
    assert_eq!(Amount::of("cpu", &"100E".parse().unwrap()), most, "a core's thousandths end there, too");
    assert_eq!(Amount::of("cpu", &"0.0001".parse().unwrap()), Amount::count(1));
}

#[test]
fn texts_become_canonical() {
    for (text, expected) in [
        ("0", "0"),
        ("-0", "0"),
        ("0Ki", "0"),
        ("1000m", "1"),
        ("0.5", "500m"),
        (".5", "500m"),
        ("+1.50", "1500m"),
        ("1024Ki", "1Mi"),
        ("1023Ki", "1023Ki"),
        ("1.5Gi", "1536Mi"),
        ("1536", "1536"),
        ("512", "512"),
        ("512Ki", "512Ki"),
        ("0.5Ki", "512"),
        ("0.0001Ki", "102400u"),
        ("1e3", "1e3"),
        ("1E3", "1e3"),
        ("12E2", "1200"),
        ("1E", "1E"),
        ("1000k", "1M"),
        ("1u", "1u"),
        ("0.1n", "1n"),
        ("-0.1n", "-1n"),
        ("1.0000000001", "1000000001n"),
        ("100E", "9223372036854775807"),
        ("1e999999", "9223372036854775807e0"),
        ("0e999999999999", "0"),
        ("1e-400", "1e-9"),
        ("00012", "12"),
    ] {
        let expected = expected.trim_end_matches("e0");
        assert_eq!(canonical(text), expected, "{text}");
    }
}

#[test]
fn what_is_no_quantity_says_why() {
    for (text, why) in [
        ("", ParseError::Format),
        ("abc", ParseError::Format),
        ("1 Gi", ParseError::Format),
        ("1.2.3", ParseError::Format),
        ("--1", ParseError::Suffix),
        ("1Gib", ParseError::Format),
        ("1mm", ParseError::Suffix),
        ("1ki", ParseError::Suffix),
        ("1e", ParseError::Suffix),
        ("1Ki5", ParseError::Suffix),
        ("é", ParseError::Format),
    ] {
        assert_eq!(text.parse::<Quantity>(), Err(why), "{text}");
    }
}

#[test]
fn values_round_up() {
    let q: Quantity = "1100m".parse().unwrap();
    assert_eq!((q.value(), q.milli_value()), (2, 1100));
    let q: Quantity = "1u".parse().unwrap();
    assert_eq!((q.value(), q.milli_value()), (1, 1));
    assert_eq!(q.rounded_to_milli().to_string(), "1m");
}

#[test]
fn sums_keep_the_first_format() {
    let sum: Quantity = ["1Gi", "512M"].iter().map(|t| t.parse::<Quantity>().unwrap()).sum();
    assert_eq!(sum.to_string(), "1548576Ki");
    assert_eq!(("1Gi".parse::<Quantity>().unwrap() - "512Mi".parse().unwrap()).to_string(), "512Mi");
}

proptest! {
    #[test]
    fn canonical_text_reads_back_as_itself(n in -100_000_000_000i64..100_000_000_000, suffix in "(n|u|m||k|M|G|Ki|Mi|Gi|e3|e-3)") {
        let q: Quantity = format!("{n}{suffix}").parse().unwrap();
        let again: Quantity = q.to_string().parse().unwrap();
        prop_assert_eq!(q, again);
        prop_assert_eq!(q.to_string(), again.to_string());
    }

    #[test]
    fn no_text_breaks_the_parser(text in "\\PC*") {
        let _ = text.parse::<Quantity>();
    }

    #[test]
    fn text_like_a_quantity_does_not_break_the_parser(text in "[+-]?[0-9.]{0,60}[eEinumkKMGTP]{0,3}[-+]?[0-9]{0,30}") {
        let _ = text.parse::<Quantity>().map(|q| q.to_string());
    }

    #[test]
    fn order_is_that_of_the_numbers(a in -1_000_000i64..1_000_000, b in -1_000_000i64..1_000_000) {
        prop_assert_eq!(Quantity::whole(a).cmp(&Quantity::whole(b)), a.cmp(&b));
        prop_assert_eq!(Quantity::whole(a) + Quantity::whole(b), Quantity::whole(a + b));
        prop_assert_eq!(Quantity::whole(a) - Quantity::whole(b), Quantity::whole(a - b));
    }
}
