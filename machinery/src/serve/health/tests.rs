use super::*;

#[test]
fn health_answers() {
    let health = Health::new()
        .live("leaderElection", || Err("lost".into()))
        .ready("caches", || Err("not filled".into()));
    let answer = |path: &str, query: &str| {
        health.answer(path, Some(query)).map(|(status, body)| (status.as_u16(), body))
    };
    let cases = [
        ("/healthz", "exclude=leaderElection", Some((200, "ok"))),
        (
            "/livez",
            "verbose&exclude=leaderElection",
            Some((200, "[+]ping ok\n[+]leaderElection excluded: ok\nlivez check passed\n")),
        ),
        (
            "/readyz",
            "exclude=leaderElection",
            Some((
                500,
                "[+]ping ok\n[+]leaderElection excluded: ok\n[-]caches failed: not filled\nreadyz check failed\n",
            )),
        ),
        ("/livez", "", Some((500, "[+]ping ok\n[-]leaderElection failed: lost\nlivez check failed\n"))),
        ("/livez/ping", "verbose", Some((200, "ok"))),
        ("/livez/leaderElection", "", Some((500, "internal server error: lost\n"))),
        (
            "/livez",
            "verbose&exclude=leaderElection&exclude=b&exclude=a",
            Some((
                200,
                "[+]ping ok\n[+]leaderElection excluded: ok\nwarn: some health checks cannot be excluded: no matches for \"a\",\"b\"\nlivez check passed\n",
            )),
        ),
        ("/livez/none", "", None),
        ("/livez/", "", None),
        ("//livez", "", None),
        ("/other", "", None),
    ];
    for (path, query, expected) in cases {
        let expected = expected.map(|(status, body)| (status, body.to_owned()));
        assert_eq!(answer(path, query), expected, "{path}?{query}");
    }
}

#[test]
fn a_gate_says_what_is_waited_for() {
    let gate = Gate::closed("the API server does not answer yet");
    let shared = gate.clone();
    let health = Health::new().ready("informer-sync", move || shared.check());
    let ready = || health.answer("/readyz", None).map(|(status, _)| status.as_u16());
    assert_eq!(ready(), Some(500));
    assert_eq!(health.answer("/livez", None).map(|(status, _)| status.as_u16()), Some(200));
    gate.open();
    assert_eq!(ready(), Some(200));
    gate.close("caches are being filled");
    assert!(health.answer("/readyz", None).is_some_and(|(_, text)| text.contains("caches are being filled")));
}
