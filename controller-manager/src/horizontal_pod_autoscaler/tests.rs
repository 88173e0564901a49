use api::Message;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscalerSpec;
use serde_json::{Value, json};

use super::limits::bound;
use super::replicas::{Metric, Proposal, Sample, Target, Tolerance};
use super::*;
use crate::frame::Timestamp;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A pod that asks for a tenth of a core, and is `Running`, `Pending`, `Failed`, `unready` or `fresh`; or a `huge` one.
fn pod(name: &str, state: &str) -> Arc<Pod> {
    let (phase, ready, since, started) = match state {
        "unready" => ("Running", "False", 20, 10),
        "fresh" => ("Running", "True", 9_995, 9_990),
        "huge" => ("Running", "True", 20, 10),
        phase => (phase, "True", 20, 10),
    };
    let container = |asked| json!({"name": "c", "resources": {"requests": {"cpu": asked}}});
    let containers = match state {
        "huge" => vec![container("9Ei"), container("9Ei")],
        _ => vec![container("100m")],
    };
    let pod = json!({
        "metadata": {"name": name},
        "spec": {"containers": containers},
        "status": {"phase": phase, "startTime": at(started).to_string(), "conditions": [
            {"type": "Ready", "status": ready, "lastTransitionTime": at(since).to_string()}]},
    });
    Arc::new(serde_json::from_value(pod).unwrap())
}

#[test]
fn replicas_follow_from_what_is_known_of_pods() {
    use Target::{Average, Utilization};
    // State and use of each pod.
    type Pods<'a> = &'a [(&'a str, Option<i64>)];
    // What it is called, what is wanted of which pods, and the replicas and the use that follow.
    type Case<'a> = (&'a str, Target, Pods<'a>, Result<(i32, i64), &'a str>);
    let running = "Running";
    let cases: &[Case] = &[
        ("on target", Utilization(50), &[(running, Some(52)), (running, Some(50))], Ok((2, 51))),
        ("too much", Utilization(50), &[(running, Some(100)), (running, Some(100))], Ok((4, 100))),
        ("too little", Utilization(50), &[(running, Some(10)), (running, Some(10))], Ok((1, 10))),
        (
            "a missing one uses nothing when there is too much",
            Utilization(50),
            &[(running, Some(100)), (running, None)],
            Ok((2, 100)),
        ),
        (
            "and all when there is too little",
            Utilization(50),
            &[(running, Some(10)), (running, None)],
            Ok((2, 10)),
        ),
        (
            "one that starts uses nothing",
            Utilization(50),
            &[(running, Some(200)), ("Pending", None)],
            Ok((4, 200)),
        ),
        ("or does not count", Utilization(50), &[(running, Some(10)), ("Pending", None)], Ok((1, 10))),
        (
            "one that never was ready",
            Utilization(50),
            &[(running, Some(10)), ("unready", Some(900))],
            Ok((1, 10)),
        ),
        (
            "one that only just became ready",
            Utilization(50),
            &[(running, Some(10)), ("fresh", Some(900))],
            Ok((1, 10)),
        ),
        ("one that failed", Utilization(50), &[(running, Some(100)), ("Failed", Some(900))], Ok((2, 100))),
        ("a value", Average(20), &[(running, Some(50)), (running, Some(50))], Ok((5, 50))),
        ("a value, and a missing one", Average(20), &[(running, Some(4)), (running, None)], Ok((2, 4))),
        ("more than can be counted", Utilization(200), &[("huge", Some(10)), ("huge", None)], Ok((1, 10))),
        ("nobody", Utilization(50), &[], Err("no pods returned by selector while calculating replica count")),
        (
            "nothing",
            Utilization(50),
            &[("Pending", None)],
            Err("did not receive metrics for targeted pods (pods might be unready)"),
        ),
    ];
    for (what, target, all, expected) in cases {
        let named = || all.iter().enumerate().map(|(i, pod)| (format!("p{i}"), pod));
        let pods: Vec<_> = named().map(|(name, (state, _))| pod(&name, state)).collect();
        let sample = |value| Sample { value, time: at(10_000), window: Duration::from_secs(15) };
        let samples = named().filter_map(|(name, (_, value))| Some((name, sample((*value)?)))).collect();
        let metric = Metric {
            resource: "cpu",
            container: None,
            target: *target,
            tolerance: Tolerance { down: 0.1, up: 0.1 },
        };
        let proposed = metric.propose(&pods, samples, all.len() as i32, at(10_000));
        let proposed = proposed.map(|Proposal { replicas, average, .. }| (replicas, average));
        assert_eq!(proposed, expected.map_err(str::to_owned).map_err(Message::from), "{what}");
    }
    let (pods, target) = ([pod("p0", running)], Utilization(50));
    let samples = || [("p0".to_owned(), Sample { value: 1, time: at(1), window: Duration::ZERO })].into();
    let tolerance = Tolerance { down: 0.1, up: 0.1 };
    let why = |resource, container| {
        Metric { resource, container, target, tolerance }
            .propose(&pods, samples(), 1, at(10_000))
            .unwrap_err()
    };
    assert_eq!(why("memory", None), "missing request for memory in container c of Pod p0");
    assert_eq!(why("cpu", Some("d")), "container d not found in Pod p0");
}

#[test]
fn replicas_change_as_fast_as_rules_allow() {
    let policy =
        |kind: &str, value: i32, period: i32| json!({"type": kind, "value": value, "periodSeconds": period});
    let rules = |window: i32, select: &str, policies: Value| json!({"stabilizationWindowSeconds": window, "selectPolicy": select, "policies": policies});
    let open = || rules(0, "Max", json!([policy("Percent", 900, 15)]));
    let both = |up: Value, down: Value| json!({"scaleUp": up, "scaleDown": down});
    // What there is, what is asked for, and what comes of it, second by second.
    type Steps<'a> = &'a [(i64, i32, i32, i32, &'a str)];
    let cases: Vec<(&str, Value, Steps)> = vec![
        (
            "without rules twice as many",
            Value::Null,
            &[(0, 3, 50, 6, "ScaleUpLimit"), (15, 6, 50, 12, "ScaleUpLimit")],
        ),
        ("or four", Value::Null, &[(0, 1, 9, 4, "ScaleUpLimit")]),
        ("up to the most", Value::Null, &[(0, 15, 90, 20, "TooManyReplicas")]),
        (
            "and less after five minutes",
            Value::Null,
            &[
                (0, 8, 8, 8, "DesiredWithinRange"),
                (299, 8, 0, 8, "DesiredWithinRange"),
                (601, 8, 0, 2, "TooFewReplicas"),
            ],
        ),
        (
            "some pods in a time",
            both(rules(0, "Max", json!([policy("Pods", 2, 60)])), open()),
            &[(0, 3, 50, 5, "ScaleUpLimit"), (30, 5, 50, 5, "ScaleUpLimit"), (61, 5, 50, 7, "ScaleUpLimit")],
        ),
        (
            "the least of several",
            both(rules(0, "Min", json!([policy("Pods", 2, 60), policy("Percent", 10, 60)])), open()),
            &[(0, 10, 50, 11, "ScaleUpLimit")],
        ),
        (
            "the most of several",
            both(open(), rules(0, "Max", json!([policy("Pods", 1, 60), policy("Percent", 50, 60)]))),
            &[(0, 10, 0, 5, "ScaleDownLimit")],
        ),
        (
            "the least of several downwards",
            both(open(), rules(0, "Min", json!([policy("Pods", 1, 60), policy("Percent", 50, 60)]))),
            &[(0, 10, 0, 9, "ScaleDownLimit")],
        ),
        (
            "never",
            both(open(), rules(0, "Disabled", json!([policy("Percent", 100, 15)]))),
            &[(0, 10, 0, 10, "ScaleDownLimit")],
        ),
        (
            "more only when more was asked for all the time",
            both(rules(60, "Max", json!([policy("Percent", 900, 15)])), open()),
            &[
                (0, 3, 3, 3, "DesiredWithinRange"),
                (30, 3, 9, 3, "DesiredWithinRange"),
                (61, 3, 9, 9, "DesiredWithinRange"),
            ],
        ),
    ];
    for (what, behavior, steps) in cases {
        let spec = json!({"minReplicas": 2, "maxReplicas": 20, "behavior": behavior,
            "scaleTargetRef": {"kind": "Deployment", "name": "web"}});
        let spec: HorizontalPodAutoscalerSpec = serde_json::from_value(spec).unwrap();
        let mut history = History::default();
        for (second, current, asked, replicas, limit) in steps.iter().copied() {
            let now = at(1_000_000 + second);
            history.begin(current, now);
            let bounded = bound(&spec, current, asked, &mut history, now);
            assert_eq!((bounded.replicas, bounded.limited.1.0), (replicas, limit), "{what} after {second} s");
            if replicas != current {
                history.rescaled(current, replicas, now);
            }
        }
    }
}

#[tokio::test]
async fn discovery_is_asked_for_no_more_than_it_has_to_be() {
    let asked = Arc::new(Mutex::new((0, 0)));
    let resource = Arc::new(Mutex::new(true));
    let (count, served) = (Arc::clone(&asked), Arc::clone(&resource));
    let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let path = request.uri().path();
        let group = json!({"metadata": {"name": "apps"}, "versions": [{"version": "v1", "resources": [
            {"resource": "deployments", "responseKind": {"group": "", "version": "", "kind": "Deployment"},
             "scope": "Namespaced", "singularResource": "deployment", "verbs": ["get"]}]}]});
        let list = |items: Vec<Value>| {
            json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2",
            "metadata": {}, "items": items})
        };
        let (code, answer) = match path {
            "/api" => (200, list(vec![])),
            "/apis" => {
                count.lock().0 += 1;
                (200, list(vec![group]))
            }
            _ => {
                count.lock().1 += 1;
                let details =
                    if *served.lock() { json!({"name": "web", "kind": "deployments"}) } else { json!({}) };
                (
                    404,
                    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound",
                    "message": "none", "code": 404, "details": details}),
                )
            }
        };
        let body = kube::client::Body::from(answer.to_string().into_bytes());
        let answer = http::Response::builder().status(code).body(body);
        async move { answer }
    });
    let clock = Clock::default();
    let targets = Targets::new(kube::Client::new(service, "default"), clock.clone());
    let scaler = |kind: &str| -> HorizontalPodAutoscaler {
        serde_json::from_value(
            json!({"metadata": {"name": "web", "namespace": "default"}, "spec": {"maxReplicas": 2,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": kind, "name": "web"}}}),
        )
        .unwrap()
    };
    let why = async |kind: &str| targets.scale_of(&scaler(kind)).await.unwrap_err();
    // Discoveries and scales that were asked for.
    let so_far = || *asked.lock();

    for kind in ["Foo", "Bar", "Foo"] {
        assert_eq!(why(kind).await, format!("no matches for kind {kind:?} in group \"apps\""));
    }
    assert_eq!(so_far(), (1, 0));
    // An object that is missing says nothing of its kind.
    for _ in 0..2 {
        assert_eq!(why("Deployment").await, "none");
        clock.advance(DISCOVERED);
    }
    assert_eq!(so_far(), (1, 2));
    why("Foo").await;
    assert_eq!(so_far(), (2, 2));
    // A kind that is gone is looked for again.
    *resource.lock() = false;
    for (after, discoveries) in [(Duration::ZERO, 2), (Duration::from_secs(1), 2), (DISCOVERED, 3)] {
        clock.advance(after);
        why("Deployment").await;
        assert_eq!(so_far().0, discoveries);
    }
}
