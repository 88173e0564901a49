//! What a namespace may use, as kubectl shows it and as people run into it.

#![allow(missing_docs, clippy::unwrap_used)]

use e2e::{Cluster, eventually, http_go};
use serde_json::json;

const LIMITS: &str = "
apiVersion: v1
kind: LimitRange
metadata: {name: small, namespace: team}
spec:
  limits:
  - {type: Container, max: {cpu: 500m}, default: {cpu: 200m}, defaultRequest: {cpu: 100m}}
";

const REVERSED: &str = "
apiVersion: v1
kind: LimitRange
metadata: {name: reversed, namespace: team}
spec:
  limits:
  - {type: Container, min: {memory: 2Gi}, max: {memory: 1Gi}}
";

/// The lines of a text, each with one space between its words.
fn lines(text: &str) -> Vec<String> {
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// Waits until the quota says so of pods.
fn until_pods(cluster: &Cluster, used: &str, hard: &str) {
    let expected = format!("pods {used} {hard}");
    eventually(&expected, 30, || {
        let described = lines(&cluster.kubectl("describe quota compute -n team").ok());
        if described.contains(&expected) { Ok(()) } else { Err(described.join("\n")) }
    });
}

#[test]
fn a_namespace_keeps_within_its_quota_and_its_limits() {
    let cluster = Cluster::up("budget", 1);
    cluster.load(&[http_go("http-go:v1", "v1", 0)]);
    cluster.kubectl("create namespace team").ok();
    let made = cluster.kubectl("create quota compute -n team --hard=pods=2,requests.cpu=1").ok();
    assert_eq!(made, "resourcequota/compute created\n");
    until_pods(&cluster, "0", "2");
    let shown = cluster.kubectl("get quota -n team --no-headers").ok();
    assert!(shown.contains("pods: 0/2, requests.cpu: 0/1"), "{shown}");

    // Who has a quota for cpu must say how much, until a range says it for him.
    let run = |name: &str| cluster.kubectl(&format!("run {name} -n team --image=http-go:v1"));
    let refused = run("a").refused();
    let words = "pods \"a\" is forbidden: failed quota: compute: must specify requests.cpu for: a";
    assert!(refused.contains(words), "{refused}");
    let reversed = cluster.kubectl_fed("apply -f -", REVERSED).refused();
    let words =
        "spec.limits[0].min[memory]: Invalid value: \"2Gi\": min value 2Gi is greater than max value 1Gi";
    assert!(reversed.contains(words), "{reversed}");
    cluster.apply(LIMITS);
    let described = lines(&cluster.kubectl("describe limits small -n team").ok());
    assert!(described.contains(&"Container cpu - 500m 100m 200m -".to_owned()), "{described:?}");
    run("a").ok();
    let pod = cluster.json("get pod a -n team");
    let resources = &pod["spec"]["containers"][0]["resources"];
    assert_eq!(*resources, json!({"limits": {"cpu": "200m"}, "requests": {"cpu": "100m"}}));
    let large = "run large -n team --image=http-go:v1 --overrides";
    let overrides = r#"{"spec":{"containers":[{"name":"large","image":"http-go:v1","resources":{"limits":{"cpu":"2"}}}]}}"#;
    let words: Vec<&str> = large.split(' ').chain([overrides]).collect();
    let refused = cluster.kubectl_words(&words).refused();
    assert!(refused.contains("maximum cpu usage per Container is 500m, but limit is 2"), "{refused}");

    // The pod too many.
    run("b").ok();
    let refused = run("c").refused();
    let words =
        "pods \"c\" is forbidden: exceeded quota: compute, requested: pods=1, used: pods=2, limited: pods=2";
    assert!(refused.contains(words), "{refused}");
    cluster.kubectl("delete pod a -n team --grace-period=1").ok();
    until_pods(&cluster, "1", "2");

    // A roll-out that it stops.
    cluster.kubectl("create deployment web -n team --image=http-go:v1 --replicas=3").ok();
    let words = "exceeded quota: compute, requested: pods=1, used: pods=2, limited: pods=2";
    eventually("the deployment says what stops it", 30, || {
        let web = cluster.json("get deployment web -n team");
        let conditions = web["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let failure = conditions.into_iter().find(|condition| condition["type"] == "ReplicaFailure");
        match failure {
            Some(failure)
                if failure["reason"] == "FailedCreate"
                    && failure["message"].as_str().unwrap().ends_with(words) =>
            {
                Ok(())
            }
            _ => Err(web["status"].to_string()),
        }
    });
    let told = eventually("the replica set's events say it", 30, || {
        let told = cluster.kubectl("describe replicaset -n team -l app=web").ok();
        if told.contains("Error creating: pods \"web-") { Ok(told) } else { Err(told) }
    });
    assert!(told.contains("FailedCreate") && told.contains(words), "{told}");
    cluster
        .kubectl_words(&[
            "patch",
            "quota",
            "compute",
            "-n",
            "team",
            "-p",
            r#"{"spec":{"hard":{"pods":"4"}}}"#,
        ])
        .ok();
    cluster.kubectl("rollout status deployment/web -n team --timeout=90s").ok();
    until_pods(&cluster, "4", "4");

    // Smaller than what runs: it shows, and nothing is disturbed.
    cluster
        .kubectl_words(&[
            "patch",
            "quota",
            "compute",
            "-n",
            "team",
            "-p",
            r#"{"spec":{"hard":{"pods":"1"}}}"#,
        ])
        .ok();
    until_pods(&cluster, "4", "1");
    assert_eq!(cluster.items("get pods -n team").len(), 4);
    run("d").refused();
}
