use super::*;

const TIME: &str = "2026-01-02T03:04:05.000000006Z";

#[test]
fn lines() {
    let full = |text: &'static str| Some((text, false));
    let cases = [
        ("stdout F hello world", full("hello world")),
        ("stderr F  two spaces", full(" two spaces")),
        ("stdout F ", full("")),
        ("stdout F", full("")),
        ("stdout P begin", Some(("begin", true))),
        ("stdout P:x begin", Some(("begin", true))),
        ("elsewhere F hello", None),
        ("stdout", None),
    ];
    for (rest, expected) in cases {
        let raw = format!("{TIME} {rest}");
        let read = parse(raw.as_bytes()).map(|line| (str::from_utf8(line.text).unwrap(), line.partial));
        assert_eq!(read, expected, "{rest}");
    }
}

#[test]
fn what_is_shown() {
    let shown = |filter: &Filter| {
        let (mut shown, mut goes_on) = (Vec::new(), false);
        for raw in [
            "2026-01-01T00:00:00Z stdout F old",
            "2026-01-02T00:00:00Z stdout P half and ",
            "2026-01-02T00:00:00Z stdout F half",
            "nonsense",
            "2026-01-03T00:00:00.5+01:00 stderr F new",
        ] {
            filter.show(raw.as_bytes(), &mut goes_on, &mut shown);
        }
        String::from_utf8(shown).unwrap()
    };
    assert_eq!(shown(&Filter::default()), "old\nhalf and half\nnew\n");
    let since = Some("2026-01-02T12:00:00Z".parse().unwrap());
    assert_eq!(shown(&Filter { since, timestamps: true }), "2026-01-03T00:00:00.500000000+01:00 new\n");
    let stamped = "2026-01-01T00:00:00.000000000Z old\n\
                   2026-01-02T00:00:00.000000000Z half and half\n\
                   2026-01-03T00:00:00.500000000+01:00 new\n";
    assert_eq!(shown(&Filter { since: None, timestamps: true }), stamped);
}
