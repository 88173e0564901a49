//! Network policies between pods of two nodes: who may come, who may leave, how soon.

#![allow(missing_docs, clippy::unwrap_used)]

use std::net::SocketAddr;

use e2e::{Cluster, busybox, eventually, get, http_go};

const MANIFEST: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Namespace
metadata: {name: guests, labels: {welcome: 'yes'}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{port: 80, targetPort: http, nodePort: 30080}]
";

fn pod(cluster: &Cluster, namespace: &str, name: &str, node: u8, container: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}, labels: {{app: {name}}}}}\n\
         spec:\n  nodeName: {}\n  terminationGracePeriodSeconds: 0\n  containers:\n  - {container}\n",
        cluster.node(node)
    )
}

/// Every pod that asks, with its namespace.
const CLIENTS: [(&str, &str); 3] = [("shop", "near"), ("shop", "far"), ("guests", "guest")];

fn whole() -> Cluster {
    let cluster = Cluster::up_whole("netpol", 2, &[]);
    cluster.load(&[http_go("http-go:v1", "v1", 0), busybox("busybox:v1")]);
    // The kubelet probes through every policy.
    let web = "{name: c, image: 'http-go:v1', ports: [{name: http, containerPort: 8080}],
     readinessProbe: {httpGet: {port: http}, periodSeconds: 1, failureThreshold: 1}}";
    let client =
        "{name: c, image: 'http-go:v1'}\n  - {name: names, image: 'busybox:v1', command: [sleep, infinity]}";
    let mut manifest = MANIFEST.to_owned() + &pod(&cluster, "shop", "web", 1, web);
    for ((namespace, name), node) in CLIENTS.into_iter().zip([1, 2, 2]) {
        manifest += &pod(&cluster, namespace, name, node, client);
    }
    cluster.apply(&manifest);
    for (namespace, name) in CLIENTS.into_iter().chain([("shop", "web")]) {
        cluster.kubectl(&format!("wait --for=condition=Ready pod/{name} -n {namespace} --timeout=60s")).ok();
    }
    cluster
}

/// Asks from a pod; what is dropped is not waited for long.
fn asks(cluster: &Cluster, service: &str, namespace: &str, name: &str) -> Result<(), String> {
    let answer = cluster.kubectl(&format!("exec -n {namespace} {name} -c c -- /http-go get {service}:80"));
    if answer.code == 0 && answer.out.starts_with("Welcome!") {
        Ok(())
    } else {
        Err(answer.out + &answer.err)
    }
}

/// Applies a policy of `shop` and waits until exactly those of the clients get through that should.
fn then(cluster: &Cluster, policy: &str, expected: [bool; 3]) {
    if !policy.is_empty() {
        cluster.apply(&format!(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{namespace: shop, {policy}\n"
        ));
    }
    let service = cluster.json("get service web -n shop");
    let service = service["spec"]["clusterIP"].as_str().unwrap();
    eventually(&format!("{expected:?} after {policy}"), 20, || {
        let answers = CLIENTS.map(|(namespace, name)| asks(cluster, service, namespace, name));
        if answers.each_ref().map(Result::is_ok) == expected { Ok(()) } else { Err(format!("{answers:?}")) }
    });
}

#[test]
fn policies_cut_and_allow() {
    let cluster = whole();
    let outside = || get(SocketAddr::new(cluster.node_address(1).into(), 30080));
    then(&cluster, "", [true; 3]);
    assert!(outside().is_ok());

    then(&cluster, "name: deny}\nspec: {podSelector: {}, policyTypes: [Ingress]}", [false; 3]);
    assert!(outside().is_err());
    let allow = |from: &str| {
        format!("name: allow}}\nspec: {{podSelector: {{matchLabels: {{app: web}}}}, ingress: [{{{from}}}]}}")
    };
    then(&cluster, &allow("from: [{podSelector: {matchLabels: {app: far}}}]"), [false, true, false]);
    then(
        &cluster,
        &allow("from: [{namespaceSelector: {matchLabels: {welcome: 'yes'}}}]"),
        [false, false, true],
    );
    then(&cluster, &allow("ports: [{port: 80}]"), [false; 3]);
    then(&cluster, &allow("ports: [{port: http}]"), [true; 3]);
    assert!(outside().is_ok());
    let web = &cluster.items("get pods -n shop -l app=web")[0];
    let ready =
        web["status"]["conditions"].as_array().unwrap().iter().find(|c| c["type"] == "Ready").unwrap();
    assert_eq!(ready["status"], "True", "probes are never forbidden");

    // A label makes a pod one of those that are allowed, and unmakes it.
    then(&cluster, &allow("from: [{podSelector: {matchLabels: {role: buyer}}}]"), [false; 3]);
    cluster.kubectl("label pod near -n shop role=buyer").ok();
    then(&cluster, "", [true, false, false]);
    cluster.kubectl("label pod near -n shop role-").ok();
    then(&cluster, "", [false; 3]);
    cluster.kubectl("delete networkpolicy --all -n shop").ok();
    then(&cluster, "", [true; 3]);

    // Nobody of the shop may leave: not even names are found, then they are.
    then(&cluster, "name: stay}\nspec: {podSelector: {}, policyTypes: [Egress]}", [false, false, true]);
    let dns = "{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}}],
      ports: [{port: 53, protocol: UDP}, {port: 53}]}";
    let out = |rules: &str| {
        format!(
            "name: out}}\nspec: {{podSelector: {{matchLabels: {{app: near}}}}, policyTypes: [Egress], egress: [{rules}]}}"
        )
    };
    let ip = web["status"]["podIP"].as_str().unwrap();
    then(&cluster, &out(dns), [false, false, true]);
    eventually("names are found", 20, || {
        let found = cluster.kubectl("exec -n shop near -c names -- nslookup web.shop.svc.cluster.local");
        if found.code == 0 { Ok(()) } else { Err(found.out + &found.err) }
    });
    let block = format!("{dns}, {{to: [{{ipBlock: {{cidr: 0.0.0.0/0, except: [{ip}/32]}}}}]}}");
    then(&cluster, &out(&block), [false, false, true]);
    let block = format!("{dns}, {{to: [{{ipBlock: {{cidr: {ip}/32}}}}]}}");
    then(&cluster, &out(&block), [true, false, true]);
}
