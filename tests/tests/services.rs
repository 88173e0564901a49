//! Services: ClusterIP from pods on every node, NodePort on every node, replicas that come and go.

#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

use e2e::{Cluster, eventually, get, http_go};

const MANIFEST: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
      - {name: web, image: 'http-go:v1', ports: [{containerPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: web-outside}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080, nodePort: 30080}]
";

fn client(cluster: &Cluster, number: u8) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: client-{number}}}\nspec:\n  nodeName: {}\n  \
         terminationGracePeriodSeconds: 0\n  containers:\n  - {{name: client, image: 'http-go:v1'}}\n",
        cluster.node(number)
    )
}

fn running(cluster: &Cluster) -> BTreeSet<String> {
    let pods = cluster.items("get pods -l app=web --field-selector status.phase=Running");
    let alive = pods.iter().filter(|pod| pod["metadata"].get("deletionTimestamp").is_none());
    alive.map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

/// Asks until every running pod has answered; each answer must come from one of them.
fn spread(cluster: &Cluster, from: &str, ask: impl Fn() -> Result<String, String>) {
    let pods = running(cluster);
    let mut answered = BTreeSet::new();
    eventually(&format!("all pods answer {from}"), 30, || {
        let body = ask()?;
        let mut lines = body.lines();
        assert_eq!(lines.next(), Some("Welcome! v1"), "{from}");
        answered.insert(lines.next().unwrap_or_default().to_owned());
        if answered.is_superset(&pods) { Ok(()) } else { Err(format!("{answered:?} of {pods:?}")) }
    });
    assert_eq!(answered, pods, "{from}");
}

fn settle(cluster: &Cluster, replicas: usize) {
    cluster.kubectl(&format!("scale deployment/web --replicas={replicas}")).ok();
    eventually(&format!("{replicas} replicas"), 60, || {
        let status = cluster.json("get deployment web")["status"].clone();
        let ready = status["readyReplicas"].as_u64().unwrap_or(0) as usize;
        let pods = cluster.items("get pods -l app=web").len();
        if ready == replicas && pods == replicas { Ok(()) } else { Err(format!("{ready} ready of {pods}")) }
    });
    let slices = || -> usize {
        let slices = cluster.items("get endpointslices -l kubernetes.io/service-name=web");
        slices.iter().filter_map(|slice| slice["endpoints"].as_array()).map(Vec::len).sum()
    };
    eventually(
        "endpoints follow",
        10,
        || if slices() == replicas { Ok(()) } else { Err(slices().to_string()) },
    );
}

#[test]
fn services_answer_everywhere_while_replicas_change() {
    let cluster = Cluster::up("svc", 2);
    cluster.load(&[http_go("http-go:v1", "v1", 0)]);
    cluster.apply(MANIFEST);
    for number in [1, 2] {
        cluster.apply(&client(&cluster, number));
    }
    cluster.kubectl("rollout status deployment/web --timeout=60s").ok();
    cluster.kubectl("wait --for=condition=Ready pod/client-1 pod/client-2 --timeout=30s").ok();
    let service = cluster.json("get service web");
    let ip: Ipv4Addr = service["spec"]["clusterIP"].as_str().unwrap().parse().unwrap();
    let from_pod = |number: u8| {
        let answer = cluster.kubectl(&format!("exec client-{number} -- /http-go get {ip}:80"));
        if answer.code == 0 { Ok(answer.out) } else { Err(answer.err) }
    };
    let everywhere = || {
        for number in [1, 2] {
            spread(&cluster, &format!("a pod on node {number}"), || from_pod(number));
            let node = SocketAddr::new(cluster.node_address(number).into(), 30080);
            spread(&cluster, &format!("the NodePort of node {number}"), || get(node));
        }
        spread(&cluster, "the host through the ClusterIP", || get(SocketAddr::new(ip.into(), 80)));
    };
    everywhere();

    // Pods are reached directly, without translation: a pod sees another one's own address.
    let pod = &cluster.items("get pods -l app=web")[0];
    let address = SocketAddr::new(pod["status"]["podIP"].as_str().unwrap().parse().unwrap(), 8080);
    assert!(get(address).unwrap().starts_with("Welcome! v1"));

    // The API server reaches them as well, on every node, whether this machine forwards or not.
    let through =
        |path: &str| cluster.kubectl(&format!("get --raw /api/v1/namespaces/default/{path}/proxy/"));
    for number in [1, 2] {
        assert!(through(&format!("pods/client-{number}:8080")).ok().starts_with("Welcome! v1"));
    }
    spread(&cluster, "through the API server", || {
        let answer = through("services/web:80");
        if answer.code == 0 { Ok(answer.out) } else { Err(answer.err) }
    });

    settle(&cluster, 10);
    everywhere();
    settle(&cluster, 1);
    everywhere();

    // A deleted pod is replaced.
    settle(&cluster, 2);
    let before = running(&cluster);
    let victim = before.first().unwrap();
    cluster.kubectl(&format!("delete pod {victim} --wait=true --timeout=30s")).ok();
    eventually("the deleted pod is replaced", 30, || {
        let now = running(&cluster);
        if now.len() == 2 && !now.contains(victim) { Ok(()) } else { Err(format!("{now:?}")) }
    });

    // A pod that no longer matches is let go and replaced.
    let stray = running(&cluster).first().unwrap().clone();
    cluster.kubectl(&format!("label pod {stray} app=stray --overwrite")).ok();
    eventually("the relabelled pod is replaced", 30, || {
        let now = running(&cluster);
        if now.len() == 2 && !now.contains(&stray) { Ok(()) } else { Err(format!("{now:?}")) }
    });
    let orphan = cluster.json(&format!("get pod {stray}"));
    assert!(orphan["metadata"].get("ownerReferences").is_none(), "{orphan}");
    assert_eq!(orphan["status"]["phase"], "Running");

    // Without endpoints a connection is refused at once rather than timing out.
    settle(&cluster, 0);
    eventually("a service without endpoints refuses", 10, || match get(SocketAddr::new(ip.into(), 80)) {
        Err(refusal) if refusal.contains("refused") || refusal.contains("unreachable") => Ok(()),
        other => Err(format!("{other:?}")),
    });
}
