use serde_json::{Value, json};

use crate::testing::{cluster, fitting, judged, pod, scores};

fn labelled(name: &str, app: &str) -> std::sync::Arc<crate::needs::Needs> {
    pod(name, &json!({"metadata": {"labels": {"app": app}}}))
}

fn term(app: &str, key: &str, more: &Value) -> Value {
    let mut term = json!({"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key});
    crate::testing::merge(&mut term, more);
    term
}

fn required(kind: &str, terms: &[Value]) -> Value {
    json!({"spec": {"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": terms}}}})
}

fn preferred(kind: &str, weight: i32, term: &Value) -> Value {
    let weighted = json!([{"weight": weight, "podAffinityTerm": term}]);
    json!({"spec": {"affinity": {kind: {"preferredDuringSchedulingIgnoredDuringExecution": weighted}}}})
}

const NODES: [&str; 4] = ["a/a1", "a/a2", "b/b1", "/x1"];

#[test]
fn pods_are_placed_near_pods_and_far_from_pods() {
    let elsewhere = pod("far", &json!({"metadata": {"namespace": "other", "labels": {"app": "db"}}}));
    let pods = [("a1", labelled("db", "db")), ("b1", labelled("web", "web")), ("b1", elsewhere)];
    let mut cluster = cluster(&NODES, &pods);
    cluster.namespaces.insert("other".to_owned(), [("team".to_owned(), "blue".to_owned())].into());
    let (near, far) = ("podAffinity", "podAntiAffinity");
    let plain = json!({});
    for (spec, expected) in [
        (required(near, &[term("db", "zone", &plain)]), vec!["a1", "a2"]),
        (required(near, &[term("db", "kubernetes.io/hostname", &plain)]), vec!["a1"]),
        (required(near, &[term("none", "zone", &plain)]), vec![]),
        // All terms by one pod.
        (required(near, &[term("db", "zone", &plain), term("web", "zone", &plain)]), vec![]),
        (required(far, &[term("db", "zone", &plain)]), vec!["b1", "x1"]),
        (required(far, &[term("db", "kubernetes.io/hostname", &plain)]), vec!["a2", "b1", "x1"]),
        (required(far, &[term("db", "zone", &plain), term("web", "zone", &plain)]), vec!["x1"]),
        // Namespaces by name, by label, all of them.
        (required(near, &[term("db", "zone", &json!({"namespaces": ["other"]}))]), vec!["b1"]),
        (
            required(
                near,
                &[term("db", "zone", &json!({"namespaceSelector": {"matchLabels": {"team": "blue"}}}))],
            ),
            vec!["b1"],
        ),
        (
            required(
                near,
                &[term("db", "zone", &json!({"namespaceSelector": {"matchLabels": {"team": "red"}}}))],
            ),
            vec![],
        ),
        (required(near, &[term("db", "zone", &json!({"namespaceSelector": {}}))]), vec!["a1", "a2", "b1"]),
        // No selector selects nothing.
        (required(far, &[json!({"topologyKey": "zone"})]), vec!["a1", "a2", "b1", "x1"]),
    ] {
        assert_eq!(fitting(&cluster, &pod("new", &spec)), expected, "{spec}");
    }
}

#[test]
fn the_first_of_pods_that_want_each_other_goes_anywhere_in_a_place() {
    let mut spec = required("podAffinity", &[term("web", "zone", &json!({}))]);
    spec["metadata"] = json!({"labels": {"app": "web"}});
    let first = pod("first", &spec);
    let mut cluster = cluster(&NODES, &[]);
    assert_eq!(fitting(&cluster, &first), ["a1", "a2", "b1"]);
    cluster.confirm("first", "b1", &first);
    spec["metadata"] = json!({"labels": {"app": "web"}, "uid": "second"});
    assert_eq!(fitting(&cluster, &pod("second", &spec)), ["b1"]);
}

#[test]
fn pods_that_run_keep_others_away() {
    let lonely = pod("lonely", &required("podAntiAffinity", &[term("web", "zone", &json!({}))]));
    let mut cluster = cluster(&NODES, &[("a1", lonely)]);
    let existing = "node(s) didn't satisfy existing pods anti-affinity rules";
    let said: Vec<_> = judged(&cluster, &labelled("web", "web")).into_iter().map(|(_, said)| said).collect();
    assert_eq!(said, [existing, existing, "", ""]);
    assert_eq!(fitting(&cluster, &labelled("db", "db")).len(), 4);
    cluster.remove_pod("lonely");
    assert_eq!(fitting(&cluster, &labelled("web", "web")).len(), 4);
}

#[test]
fn what_is_said_of_nodes() {
    let cluster = cluster(&["a/a1", "b/b1"], &[("a1", labelled("db", "db"))]);
    let near = pod("near", &required("podAffinity", &[term("db", "zone", &json!({}))]));
    assert_eq!(judged(&cluster, &near)[1].1, "node(s) didn't match pod affinity rules");
    let far = pod("far", &required("podAntiAffinity", &[term("db", "zone", &json!({}))]));
    assert_eq!(judged(&cluster, &far)[0].1, "node(s) didn't match pod anti-affinity rules");
}

#[test]
fn preferences_of_both_sides_weigh() {
    let drawn = pod("drawn", &preferred("podAffinity", 10, &term("web", "zone", &json!({}))));
    let cluster = cluster(&NODES, &[("a1", labelled("db", "db")), ("b1", drawn)]);
    let near_db = preferred("podAffinity", 5, &term("db", "zone", &json!({})));
    for (spec, expected) in [
        (json!({}), [0, 0, 0, 0]),
        (near_db.clone(), [200, 200, 0, 0]),
        (preferred("podAntiAffinity", 5, &term("db", "zone", &json!({}))), [0, 0, 200, 200]),
        // A pod that runs there wants this one.
        (json!({"metadata": {"labels": {"app": "web"}}}), [0, 0, 200, 0]),
        (json!({"metadata": {"labels": {"app": "web"}}, "spec": near_db["spec"]}), [100, 100, 200, 0]),
    ] {
        assert_eq!(scores(&cluster, &pod("new", &spec)), expected, "{spec}");
    }
}

#[test]
fn a_placement_among_many_takes_no_time() {
    let spec = required("podAntiAffinity", &[term("web", "kubernetes.io/hostname", &json!({}))]);
    let names: Vec<String> = (0..1000).map(|i| format!("a/node-{i}")).collect();
    let mut cluster = cluster(&names.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
    for i in 0..5000 {
        let mut web = spec.clone();
        web["metadata"] = json!({"labels": {"app": "web"}});
        cluster.confirm(&format!("p{i}"), &format!("node-{}", i % 999), &pod(&format!("p{i}"), &web));
    }
    let web = pod("new", &spec);
    let begun = std::time::Instant::now();
    assert_eq!(fitting(&cluster, &web), ["node-999"]);
    assert!(begun.elapsed().as_secs() < 2, "it took {:?}", begun.elapsed());
}
