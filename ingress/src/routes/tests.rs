use serde_json::{Value, json};

use super::*;

fn ingress(value: Value) -> Arc<Ingress> {
    Arc::new(serde_json::from_value(value).unwrap())
}

/// An Ingress `shop/NAME` of rules: host, type of path, path, service.
fn of_rules(name: &str, rules: &[(&str, &str, &str, &str)]) -> Arc<Ingress> {
    let rule = |(host, path_type, path, service): &(&str, &str, &str, &str)| {
        let backend = json!({"service": {"name": service, "port": {"number": 80}}});
        json!({"host": host, "http": {"paths": [{"path": path, "pathType": path_type, "backend": backend}]}})
    };
    let rules: Vec<Value> = rules.iter().map(rule).collect();
    ingress(json!({"metadata": {"name": name, "namespace": "shop"}, "spec": {"rules": rules}}))
}

/// The service that answers for a URL without its scheme; "-" for none.
fn found(routes: &Routes, url: &str) -> String {
    let (host, path) = url.split_at(url.find('/').unwrap());
    routes.find(host, path).map_or("-".to_owned(), |backend| routes.backends[backend].0.service.clone())
}

fn check(routes: &Routes, cases: &[(&str, &str)]) {
    for (url, expected) in cases {
        assert_eq!(found(routes, url), *expected, "{url}");
    }
}

#[test]
fn paths_fit_by_their_type_the_longest_first() {
    // The table of the documentation of Ingress, and what follows from it.
    let cases: [(&str, &str, &[&str], &[&str]); 9] = [
        ("Prefix", "/", &["/", "/any/path", "//"], &[]),
        ("Exact", "/foo", &["/foo"], &["/bar", "/foo/", "/", "/Foo", "/foo/x"]),
        ("Exact", "/foo/", &["/foo/"], &["/foo"]),
        ("Prefix", "/foo", &["/foo", "/foo/", "/foo/x"], &["/foobar", "/", "/Foo", "/x/foo"]),
        ("Prefix", "/foo/", &["/foo", "/foo/"], &["/foobar"]),
        ("Prefix", "/aaa/bb", &["/aaa/bb", "/aaa/bb/c"], &["/aaa/bbb", "/aaa", "/aaa/"]),
        ("Prefix", "/aaa/bbb/", &["/aaa/bbb", "/aaa/bbb/ccc"], &["/aaa/bbbxyz"]),
        ("ImplementationSpecific", "/foo", &["/foo", "/foo/x"], &["/foobar"]),
        ("ImplementationSpecific", "", &["/", "/x"], &[]),
    ];
    for (path_type, path, fitting, others) in cases {
        let (routes, problems) = Routes::new(&[of_rules("one", &[("a.test", path_type, path, "web")])]);
        assert!(problems.is_empty(), "{problems:?}");
        for url in fitting {
            assert_eq!(found(&routes, &format!("a.test{url}")), "web", "{path_type} {path} and {url}");
        }
        for url in others {
            assert_eq!(found(&routes, &format!("a.test{url}")), "-", "{path_type} {path} and {url}");
        }
    }
    let (routes, problems) = Routes::new(&[of_rules(
        "many",
        &[
            ("a.test", "Prefix", "/", "root"),
            ("a.test", "Prefix", "/foo", "prefix"),
            ("a.test", "Exact", "/foo", "exact"),
            ("a.test", "Prefix", "/foo/bar", "longer"),
        ],
    )]);
    assert!(problems.is_empty());
    check(
        &routes,
        &[
            ("a.test/", "root"),
            ("a.test/foo", "exact"),
            ("a.test/foo/", "prefix"),
            ("a.test/foo/bar/x", "longer"),
            ("a.test/foo/barx", "prefix"),
        ],
    );
}

#[test]
fn hosts_fit_exactly_then_by_wildcard_then_all() {
    let (routes, _) = Routes::new(&[of_rules(
        "one",
        &[
            ("a.test", "Prefix", "/shop", "exact"),
            ("*.a.test", "Prefix", "/", "wildcard"),
            ("www.a.test", "Prefix", "/shop", "www"),
            ("", "Prefix", "/all", "all"),
            ("UPPER.test", "Prefix", "/", "upper"),
        ],
    )]);
    check(
        &routes,
        &[
            ("a.test/shop", "exact"),
            ("a.test/other", "-"),
            ("a.test/all", "all"),
            ("www.a.test/shop", "www"),
            ("www.a.test/other", "wildcard"),
            ("x.a.test/shop", "wildcard"),
            ("x.y.a.test/shop", "-"),
            ("x.y.a.test/all", "all"),
            ("upper.test/", "upper"),
            ("/all", "all"),
            (".a.test/shop", "wildcard"),
        ],
    );
}

#[test]
fn default_backends_answer_for_the_rest() {
    let backend = |service: &str| json!({"service": {"name": service, "port": {"name": "http"}}});
    let of_host = json!({"metadata": {"name": "a", "namespace": "shop"}, "spec": {
        "defaultBackend": backend("of-host"),
        "rules": [{"host": "a.test", "http": {"paths": [
            {"path": "/x", "pathType": "Exact", "backend": {"service": {"name": "x", "port": {"number": 1}}}}]}}]}});
    let of_all = |name: &str| {
        ingress(
            json!({"metadata": {"name": name, "namespace": "shop"}, "spec": {"defaultBackend": backend(name)}}),
        )
    };
    let (routes, problems) = Routes::new(&[of_all("first"), ingress(of_host.clone()), of_all("second")]);
    check(&routes, &[("a.test/x", "x"), ("a.test/y", "of-host"), ("b.test/x", "first")]);
    assert_eq!(problems.len(), 1);
    assert_eq!(
        (problems[0].about.metadata.name.as_deref(), problems[0].reason),
        (Some("second"), "Conflict")
    );
    let (routes, problems) = Routes::new(&[ingress(of_host)]);
    check(&routes, &[("b.test/x", "of-host")]);
    assert!(problems.is_empty());
    assert_eq!(routes.backends[0].0.port, Port::Name("http".into()));
}

#[test]
fn the_older_one_counts_and_the_other_one_is_told() {
    let old = of_rules("old", &[("a.test", "Prefix", "/x", "old")]);
    let new = of_rules("new", &[("a.test", "Prefix", "/x/", "new"), ("a.test", "Prefix", "/y", "new")]);
    let (routes, problems) = Routes::new(&[old, new]);
    check(&routes, &[("a.test/x", "old"), ("a.test/y", "new")]);
    let told: Vec<_> = problems.iter().map(|problem| &*problem.message).collect();
    assert_eq!(told, ["the path /x/ (Prefix) of a.test is served as the Ingress shop/old says"]);
}

#[test]
fn what_cannot_be_served_hides_what_is_behind_it() {
    let resource = json!({"metadata": {"name": "a", "namespace": "shop"}, "spec": {"rules": [{"http": {"paths": [
        {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 1}}}},
        {"path": "/x", "pathType": "Prefix", "backend": {"resource": {"kind": "Bucket", "name": "x"}}}]}}]}});
    let (routes, problems) = Routes::new(&[ingress(resource)]);
    check(&routes, &[("a.test/y", "web"), ("a.test/x", "-")]);
    assert_eq!(problems[0].reason, "BadBackend");
}

#[test]
fn long_paths_cost_little() {
    let longest = format!("/{}", "a/".repeat(LONGEST_PATH / 2 - 1) + "a");
    assert_eq!(longest.len(), LONGEST_PATH);
    let too_long = "/a".repeat(LONGEST_PATH);
    let (routes, problems) = Routes::new(&[of_rules(
        "one",
        &[
            ("", "Prefix", &longest, "longest"),
            ("", "Exact", &too_long, "none"),
            ("", "Prefix", "/é", "other"),
        ],
    )]);
    assert_eq!(problems[0].reason, "PathTooLong");
    check(&routes, &[(&longest, "longest"), (&format!("{longest}/b"), "longest"), (&too_long, "longest")]);
    check(&routes, &[(&format!("{longest}b"), "-"), (&format!("/é/{}", "é".repeat(2000)), "other")]);
    let begun = std::time::Instant::now();
    assert_eq!(found(&routes, &"/".repeat(60_000)), "-");
    assert!(begun.elapsed().as_secs() < 1, "{:?}", begun.elapsed());
}

#[test]
fn classes_say_whose_an_ingress_is() {
    let class = |name: &str, controller: &str, default: bool| {
        let notes = if default { json!({DEFAULT_CLASS: "true"}) } else { json!({}) };
        let class =
            json!({"metadata": {"name": name, "annotations": notes}, "spec": {"controller": controller}});
        Arc::new(serde_json::from_value::<IngressClass>(class).unwrap())
    };
    let with = |name: &str, at: u32, class: Option<&str>, noted: Option<&str>| {
        let notes = noted.map_or(json!({}), |noted| json!({CLASS: noted}));
        ingress(json!({"metadata": {"name": name, "namespace": "shop", "annotations": notes,
            "creationTimestamp": format!("2026-01-01T00:00:0{at}Z")}, "spec": {"ingressClassName": class}}))
    };
    let all = vec![
        with("others", 1, Some("nginx"), None),
        with("mine", 3, Some("skiff"), None),
        with("noted", 2, None, Some("skiff")),
        with("others-noted", 2, None, Some("nginx")),
        with("nobodys", 1, None, None),
        with("unknown", 1, Some("gone"), None),
    ];
    let names = |classes: &[Arc<IngressClass>]| -> Vec<String> {
        let ours = ours(all.clone(), classes);
        ours.iter().filter_map(|ingress| ingress.metadata.name.clone()).collect()
    };
    let nginx = class("nginx", "k8s.io/ingress-nginx", false);
    assert_eq!(names(&[class("skiff", CONTROLLER, true), nginx.clone()]), ["nobodys", "noted", "mine"]);
    assert_eq!(names(&[class("skiff", CONTROLLER, false), nginx.clone()]), ["noted", "mine"]);
    assert_eq!(names(&[nginx]), [""; 0]);
}
