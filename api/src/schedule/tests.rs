use jiff::Timestamp;
use proptest::prelude::*;

use super::*;

#[test]
fn schedules_are_read() {
    for (text, expected) in [
        ("*/5 * * * *", None),
        ("0 0 1,15 jan-mar MON", None),
        ("5/15 * ? * *", None),
        ("@hourly", None),
        ("@every 1h30m", None),
        ("@every soon", Some("failed to parse duration @every soon: time: invalid duration \"soon\"")),
        ("@noon", Some("unrecognized descriptor: @noon")),
        ("* * * *", Some("expected exactly 5 fields, found 4: [* * * *]")),
        ("60 * * * *", Some("end of range (60) above maximum (59): 60")),
        ("* * 0 * *", Some("beginning of range (0) below minimum (1): 0")),
        ("9-3 * * * *", Some("beginning of range (9) beyond end of range (3): 9-3")),
        ("*/0 * * * *", Some("step of range should be a positive number: */0")),
        ("x * * * *", Some("failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax")),
    ] {
        assert_eq!(Schedule::parse(text).err().as_deref(), expected, "{text}");
    }
}

/// The times after `from`, in UTC without seconds.
fn times(schedule: &str, place: &str, from: &str, count: usize) -> Vec<String> {
    let (schedule, place) = (Schedule::parse(schedule).unwrap(), zone(place).unwrap());
    let from: Timestamp = from.parse().unwrap();
    std::iter::successors(schedule.next(from, &place), |at| schedule.next(*at, &place))
        .take(count)
        .map(|at| at.strftime("%m-%dT%H:%M").to_string())
        .collect()
}

#[test]
fn the_next_times_are_found() {
    for (schedule, place, from, expected) in [
        ("* * * * *", "UTC", "2026-01-01T00:00:00Z", ["01-01T00:01", "01-01T00:02", "01-01T00:03"]),
        ("30 6-16/4 * * 1-5", "UTC", "2026-01-02T10:29:59Z", ["01-02T10:30", "01-02T14:30", "01-05T06:30"]),
        ("0 0 13 * fri", "UTC", "2026-02-10T00:00:00Z", ["02-13T00:00", "02-20T00:00", "02-27T00:00"]),
        ("0 0 */10 * *", "UTC", "2026-02-20T00:00:00Z", ["02-21T00:00", "03-01T00:00", "03-11T00:00"]),
        ("0 12 29 2 *", "UTC", "2026-01-01T00:00:00Z", ["02-29T12:00", "02-29T12:00", "02-29T12:00"]),
        ("@every 90m", "UTC", "2026-01-01T00:00:00.5Z", ["01-01T01:30", "01-01T03:00", "01-01T04:30"]),
        ("@monthly", "Europe/Berlin", "2026-03-01T00:00:00Z", ["03-31T22:00", "04-30T22:00", "05-31T22:00"]),
        // Half past two is left out on one day, and comes twice on another.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T00:00:00Z",
            ["03-28T01:30", "03-30T00:30", "03-31T00:30"],
        ),
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T00:00:00Z",
            ["10-24T00:30", "10-25T00:30", "10-25T01:30"],
        ),
        (
            "30 1 * * *",
            "America/New_York",
            "2026-10-31T06:00:00Z",
            ["11-01T05:30", "11-01T06:30", "11-02T06:30"],
        ),
        // There was no midnight there on 2018-11-04.
        (
            "0 0 * * *",
            "America/Sao_Paulo",
            "2018-11-03T02:00:00Z",
            ["11-03T03:00", "11-05T02:00", "11-06T02:00"],
        ),
        (
            "0 0 31 * *",
            "America/Havana",
            "2023-03-12T04:25:08Z",
            ["03-31T04:00", "05-31T04:00", "07-31T04:00"],
        ),
        // There was no 2011-12-30.
        (
            "0 12 28-31 12 *",
            "Pacific/Apia",
            "2011-12-28T10:00:00Z",
            ["12-28T22:00", "12-29T22:00", "12-30T22:00"],
        ),
    ] {
        assert_eq!(times(schedule, place, from, 3), expected, "{schedule} {place}");
    }
}

#[test]
fn what_never_comes_is_none() {
    for text in ["0 0 31 2 *", "59 23 30 feb *", ", * * * *", "0 0 , * ,"] {
        assert_eq!(times(text, "UTC", "2026-01-01T00:00:00Z", 1), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn zones_are_written_as_they_are_named() {
    assert!(zone("Europe/Berlin").is_some() && zone("UTC").is_some());
    assert!(zone("europe/berlin").is_none() && zone("Mars/Olympus").is_none());
}

proptest! {
    #[test]
    fn no_text_breaks_the_schedule(text in "\\PC*") {
        drop(Schedule::parse(&text));
    }

    #[test]
    fn the_last_time_is_the_one_before_the_next(
        minute in 0_u8..60, hours in prop::sample::select(vec!["*", "3", "*/7", "9-17"]),
        days in prop::sample::select(vec!["*", "31", "*/9"]), after in 0_i64..1_000_000_000, span in 0_i64..5_000_000,
    ) {
        let schedule = Schedule::parse(&format!("{minute} {hours} {days} * *")).unwrap();
        let place = zone("Europe/Berlin").unwrap();
        let after = Timestamp::from_second(after).unwrap();
        let until = after + SignedDuration::from_secs(span);
        let mut walked = None;
        let mut next = schedule.next(after, &place);
        while let Some(at) = next.filter(|at| *at <= until) {
            prop_assert!(at > walked.unwrap_or(after));
            walked = Some(at);
            next = schedule.next(at, &place);
        }
        prop_assert_eq!(schedule.last(after, until, &place), walked);
    }
}
