//! Helm 4 with the chart that `helm create` makes, by server-side and by client-side apply.

#![allow(missing_docs, clippy::unwrap_used)]

use std::process::Command;

use e2e::{Cluster, eventually, http_go};
use serde_json::Value;

/// Runs helm against a cluster, in its folder; it must succeed.
fn helm(cluster: &Cluster, line: &str) -> String {
    let home = cluster.root();
    let output = Command::new("helm")
        .args(line.split_whitespace())
        .current_dir(home)
        .env("HOME", home)
        .env("KUBECONFIG", cluster.kubeconfig())
        .output()
        .expect("helm can be started");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "helm {line} failed: {out}{err}");
    out.into_owned()
}

/// Image, wanted and ready pods of the release's deployment.
fn running(cluster: &Cluster) -> (String, i64, i64) {
    let deployment = cluster.json("get deployment site-web");
    let count = |value: &Value| value.as_i64().unwrap_or_default();
    let image = deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
    (image.to_owned(), count(&deployment["spec"]["replicas"]), count(&deployment["status"]["readyReplicas"]))
}

fn life_of_a_release(cluster: &Cluster, apply: &str) {
    const IMAGE: &str = "--set image.repository=http-go --set image.pullPolicy=Never --set service.port=8080";
    let wait = format!("--wait --timeout 90s {apply}");
    helm(cluster, &format!("install site ./web {IMAGE} --set image.tag=v1 {wait}"));
    assert_eq!(running(cluster), ("http-go:v1".into(), 1, 1));
    helm(cluster, &format!("upgrade site ./web {IMAGE} --set image.tag=v2 --set replicaCount=2 {wait}"));
    assert_eq!(running(cluster), ("http-go:v2".into(), 2, 2));
    helm(cluster, "rollback site 1 --wait --timeout 90s");
    assert_eq!(running(cluster), ("http-go:v1".into(), 1, 1));
    let history: Value = serde_json::from_str(&helm(cluster, "history site -o json")).unwrap();
    let states: Vec<&str> =
        history.as_array().unwrap().iter().map(|entry| entry["status"].as_str().unwrap()).collect();
    assert_eq!(states, ["superseded", "superseded", "deployed"]);
    assert!(helm(cluster, "get manifest site").contains("kind: Deployment"));
    helm(cluster, "uninstall site --wait --timeout 90s");
    // Helm waits for what it made itself; pods go when their grace is over.
    eventually("nothing is left of the release", 40, || {
        let left = cluster.items("get all,serviceaccounts,secrets -l app.kubernetes.io/instance=site");
        let names: Vec<&Value> = left.iter().map(|object| &object["metadata"]["name"]).collect();
        if names.is_empty() { Ok(()) } else { Err(format!("{names:?}")) }
    });
}

#[test]
fn charts_are_installed_upgraded_rolled_back_and_uninstalled() {
    let cluster = Cluster::up("helm", 1);
    cluster.load(&[http_go("http-go:v1", "v1", 0), http_go("http-go:v2", "v2", 0)]);
    helm(&cluster, "create web");
    life_of_a_release(&cluster, "--server-side=true");
    life_of_a_release(&cluster, "--server-side=false");
}
