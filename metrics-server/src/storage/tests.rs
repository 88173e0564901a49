use super::*;

#[test]
fn use_is_what_came_between_two_points() {
    let at = |second: i64| Timestamp::from_second(second).expect("is a time");
    let point = |time: i64, started: Option<i64>, cpu: f64| Point {
        time: at(time),
        started: started.map(at),
        cpu,
        memory: 7,
    };
    let used = |window: u64, cpu: f64, time: i64| {
        Some(Usage { time: at(time), window: Duration::from_secs(window), cpu, memory: 7 })
    };
    for (what, points, expected) in [
        ("once", vec![point(100, None, 5.0)], None),
        ("twice", vec![point(100, None, 5.0), point(115, None, 20.0)], used(15, 1.0, 115)),
        (
            "not again",
            vec![point(100, None, 5.0), point(115, None, 20.0), point(115, None, 21.0)],
            used(15, 1.0, 115),
        ),
        ("once, but known since when", vec![point(100, Some(80), 5.0)], used(20, 0.25, 100)),
        ("only just begun", vec![point(100, Some(95), 5.0)], None),
        ("begun anew", vec![point(100, Some(10), 50.0), point(130, Some(110), 10.0)], used(20, 0.5, 130)),
        ("begun anew just now", vec![point(100, Some(10), 50.0), point(115, Some(110), 1.0)], None),
        ("backwards", vec![point(100, None, 50.0), point(115, None, 1.0)], None),
    ] {
        let mut storage = Storage::default();
        for point in &points {
            let name = ("n".to_owned(), "p".to_owned(), "c".to_owned());
            let scrape = Scrape { node: Some(*point), containers: [(name, *point)].into() };
            storage.store(vec![("node".to_owned(), scrape)]);
        }
        assert_eq!(storage.node("node"), expected, "{what}");
        assert_eq!(storage.pod("n", "p").map(|all| all["c"]), expected, "{what}");
        assert_eq!(storage.is_settled(), points.len() > 1);
    }
}

#[test]
fn a_pod_is_told_of_whole_and_forgotten_whole() {
    let at = |second: i64| Timestamp::from_second(second).expect("is a time");
    let scrape = |time: i64, containers: &[&str]| {
        let point = Point { time: at(time), started: None, cpu: time as f64, memory: 1 };
        let name = |c: &&str| (("n".to_owned(), "p".to_owned(), (*c).to_owned()), point);
        vec![("node".to_owned(), Scrape { node: None, containers: containers.iter().map(name).collect() })]
    };
    let mut storage = Storage::default();
    storage.store(scrape(1, &["a"]));
    storage.store(scrape(2, &["a", "b"]));
    assert_eq!(storage.pod("n", "p"), None, "b has one point");
    storage.store(scrape(3, &["a", "b"]));
    assert_eq!(storage.pod("n", "p").expect("both have two").len(), 2);
    storage.store(Vec::new());
    assert_eq!(storage.pod("n", "p"), None);
}
