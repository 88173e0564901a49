//! Services of type LoadBalancer: their addresses answer on this machine and in pods, also when the node that answered
//! is cut off.

#![allow(missing_docs, clippy::unwrap_used)]

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

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
      terminationGracePeriodSeconds: 1
      containers:
      - {name: web, image: 'http-go:v1', ports: [{containerPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: near}
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  selector: {app: near}
  ports: [{port: 80, targetPort: 8080}]
";

/// A pod on a node.
fn pod(cluster: &Cluster, name: &str, number: u8) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {name}}}}}\nspec:\n  nodeName: {}\n  \
         terminationGracePeriodSeconds: 0\n  containers:\n  - {{name: web, image: 'http-go:v1'}}\n",
        cluster.node(number)
    )
}

fn address(cluster: &Cluster, service: &str) -> Ipv4Addr {
    eventually(&format!("{service} has an address"), 10, || {
        let status = &cluster.json(&format!("get service {service}"))["status"];
        let ip = status["loadBalancer"]["ingress"][0]["ip"].as_str().map(str::to_owned);
        ip.ok_or_else(|| status.to_string())
    })
    .parse()
    .unwrap()
}

/// The node that answers for a service.
fn answering(cluster: &Cluster, service: &str) -> String {
    let service = cluster.json(&format!("get service {service}"));
    service["metadata"]["annotations"]["skiff.local/load-balancer-node"].as_str().unwrap().to_owned()
}

/// Plugs a node's cable in or pulls it.
fn cable(cluster: &Cluster, node: &str, state: &str) {
    let nodes = cluster.description().all_nodes();
    let link = &nodes.iter().find(|known| known.name == node).unwrap().link;
    assert!(Command::new("ip").args(["link", "set", link, state]).status().unwrap().success());
}

#[test]
fn a_load_balancer_answers_from_whichever_node_is_there() {
    let cluster = Cluster::up("lb", 2);
    cluster.load(&[http_go("http-go:v1", "v1", 0)]);
    cluster.apply(MANIFEST);
    cluster.apply(&pod(&cluster, "near", 2));
    cluster.apply(&pod(&cluster, "client", 1));
    cluster.apply(&pod(&cluster, "other-client", 2));
    cluster.kubectl("rollout status deployment/web --timeout=60s").ok();
    cluster.kubectl("expose deployment web --type=LoadBalancer --port 80 --target-port 8080").ok();
    let web = SocketAddr::new(address(&cluster, "web").into(), 80);
    eventually("the host is answered", 10, || get(web));
    for number in 0..20 {
        get(web).unwrap_or_else(|why| panic!("{number}: {why}"));
    }
    let from_pod = |client: &str, to: SocketAddr| {
        let answer = cluster.kubectl(&format!("exec {client} -- /http-go get {to}"));
        if answer.code == 0 { Ok(answer.out) } else { Err(answer.err) }
    };
    cluster.kubectl("wait --for=condition=Ready pod --all --timeout=60s").ok();
    for client in ["client", "other-client"] {
        eventually(&format!("{client} is answered"), 10, || from_pod(client, web));
    }
    let external = cluster.kubectl("get service web").ok();
    assert!(external.contains(&web.ip().to_string()), "{external}");
    let status = cluster.skiff(&["status"]);
    assert!(status.contains(&format!("default/web    http://{web}")), "{status}");
    let events = cluster
        .kubectl("get events --field-selector involvedObject.name=web -o custom-columns=R:.reason")
        .ok();
    assert!(events.contains("EnsuringLoadBalancer") && events.contains("EnsuredLoadBalancer"), "{events}");

    // Traffic that must stay on a node comes to one that has the endpoint.
    let near = SocketAddr::new(address(&cluster, "near").into(), 80);
    eventually("the host is answered where the endpoint is", 10, || match answering(&cluster, "near") {
        node if node == cluster.node(2) => get(near),
        other => Err(other),
    });

    // The node that answers is cut off.
    let cut = answering(&cluster, "web");
    cable(&cluster, &cut, "down");
    eventually("another node is chosen", 90, || match answering(&cluster, "web") {
        node if node != cut => Ok(()),
        other => Err(other),
    });
    eventually("the other node answers", 10, || get(web));
    eventually("only endpoints that are there are asked", 30, || {
        (0..20).try_for_each(|_| get(web).map(drop))
    });
    cable(&cluster, &cut, "up");
    cluster.kubectl(&format!("wait --for=condition=Ready node/{cut} --timeout=60s")).ok();
    for number in 0..20 {
        get(web).unwrap_or_else(|why| panic!("{number}: {why}"));
    }

    // Whoever needs none any more gives it back, and it answers no longer.
    cluster.kubectl("patch service web -p {\"spec\":{\"type\":\"ClusterIP\"}}").ok();
    eventually("the address is given back", 10, || match get(web) {
        Err(_) => Ok(()),
        Ok(answer) => Err(answer),
    });
    let service = cluster.json("get service web");
    assert_eq!(service["status"]["loadBalancer"], serde_json::json!({}));
    assert!(service["metadata"].get("finalizers").is_none(), "{service}");
    cluster.kubectl("delete service near --timeout=20s").ok();
}
