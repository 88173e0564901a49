//! Every daemon dies once while work goes on; nothing is lost and nothing is done twice.

#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeSet;

use e2e::{Cluster, eventually, http_go};
use serde_json::Value;

fn manifest(name: &str, replicas: usize) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  replicas: {replicas}\n  selector: \
         {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}}}\n    spec:\n      \
         terminationGracePeriodSeconds: 2\n      containers:\n      - {{name: web, image: 'http-go:v1'}}\n"
    )
}

fn uids(pods: &[Value]) -> BTreeSet<String> {
    pods.iter().map(|pod| pod["metadata"]["uid"].as_str().unwrap().to_owned()).collect()
}

fn containers(pods: &[Value]) -> BTreeSet<String> {
    let id = |pod: &Value| {
        pod["status"]["containerStatuses"][0]["containerID"].as_str().unwrap_or_default().to_owned()
    };
    pods.iter().map(id).collect()
}

fn pods(cluster: &Cluster, app: &str) -> Vec<Value> {
    cluster.items(&format!("get pods -l app={app}"))
}

/// Tries until the API server takes the command: it may be the one that was killed.
fn insist(cluster: &Cluster, line: &str) {
    eventually(line, 30, || {
        let done = cluster.kubectl(&format!("{line} --request-timeout=5s"));
        if done.code == 0 { Ok(()) } else { Err(done.err) }
    });
}

fn settled(cluster: &Cluster, app: &str, replicas: usize) {
    eventually(&format!("{app} has {replicas} ready pods"), 60, || {
        let seen = cluster.kubectl(&format!("get pods -l app={app} -o json --request-timeout=5s"));
        let list: Value = serde_json::from_str(&seen.out).map_err(|_| seen.err)?;
        let pods = list["items"].as_array().cloned().unwrap_or_default();
        let ready = |pod: &&Value| {
            let conditions = pod["status"]["conditions"].as_array();
            conditions.into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True")
        };
        let ready = pods.iter().filter(ready).count();
        if ready == replicas && pods.len() == replicas {
            Ok(())
        } else {
            Err(format!("{ready} of {} pods", pods.len()))
        }
    });
}

#[test]
fn every_daemon_may_die() {
    let cluster = Cluster::up("crash", 2);
    cluster.load(&[http_go("http-go:v1", "v1", 0)]);
    cluster.apply(&manifest("witness", 4));
    settled(&cluster, "witness", 4);
    let witnesses = pods(&cluster, "witness");
    let (uids_before, containers_before) = (uids(&witnesses), containers(&witnesses));

    for (round, daemon) in cluster.daemons().iter().enumerate() {
        let app = format!("work-{round}");
        // Work in every stage of its life when the blow comes.
        cluster.apply(&manifest(&app, 2));
        cluster.kill(daemon);
        insist(&cluster, &format!("scale deployment/{app} --replicas=4"));
        settled(&cluster, &app, 4);
        let sets = cluster.items(&format!("get replicasets -l app={app}"));
        assert_eq!(sets.len(), 1, "after the death of {daemon}: {sets:?}");
        insist(&cluster, &format!("delete deployment/{app} --wait=false"));
        settled(&cluster, &app, 0);

        let witnesses = pods(&cluster, "witness");
        assert_eq!(uids(&witnesses), uids_before, "after the death of {daemon}");
        assert_eq!(containers(&witnesses), containers_before, "after the death of {daemon}");
        assert!(
            witnesses.iter().all(|pod| pod["status"]["containerStatuses"][0]["restartCount"] == 0),
            "after the death of {daemon}"
        );
    }

    // The supervisor too: its daemons go on, and the next look starts another one that takes them over.
    let before: Vec<_> = cluster.daemons().iter().map(|daemon| cluster.daemon(daemon)).collect();
    let supervisor = skiff::supervisor::running(&cluster.description()).unwrap();
    skiff::processes::signal(supervisor.process, nix::sys::signal::Signal::SIGKILL).unwrap();
    eventually("the supervisor is gone", 5, || match skiff::supervisor::running(&cluster.description()) {
        None => Ok(()),
        Some(_) => Err("it runs".to_owned()),
    });
    assert!(cluster.skiff(&["status"]).contains("has been started again"));
    let again = eventually("a supervisor runs again", 10, || {
        skiff::supervisor::running(&cluster.description()).ok_or_else(String::new)
    });
    assert_eq!(again.restarts, supervisor.restarts + 1);
    let after: Vec<_> = cluster.daemons().iter().map(|daemon| cluster.daemon(daemon)).collect();
    assert_eq!(before, after);
    cluster.kill("scheduler");
}
