//! Names: services and pods found from pods, a Corefile that changes, a server that is killed.

#![allow(missing_docs, clippy::unwrap_used)]

use e2e::{Cluster, busybox, eventually, http_go};
use nix::sys::signal::Signal;
use skiff::processes::{self, Identity};

const MANIFEST: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec:
  clusterIP: None
  selector: {app: web}
  ports: [{name: sql, port: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: out, namespace: shop}
spec: {type: ExternalName, externalName: web.shop.svc.cluster.local}
---
apiVersion: v1
kind: Pod
metadata: {name: db-0, namespace: shop, labels: {app: web}}
spec:
  hostname: db-0
  subdomain: db
  terminationGracePeriodSeconds: 0
  containers:
  - {name: web, image: 'http-go:v1', ports: [{containerPort: 8080}], readinessProbe: {httpGet: {port: 8080}, periodSeconds: 1}}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: client, image: 'busybox:v1', command: [sleep, infinity]}
";

/// What the client's `nslookup` says.
fn look_up(cluster: &Cluster, kind: &str, name: &str) -> String {
    let found = cluster.kubectl(&format!("exec client -- nslookup -type={kind} {name}"));
    found.out + &found.err
}

/// The name under which an address is looked up.
fn backwards(address: &str) -> String {
    let octets: Vec<&str> = address.rsplit('.').collect();
    format!("{}.in-addr.arpa", octets.join("."))
}

fn expect(cluster: &Cluster, kind: &str, name: &str, expected: &str) {
    eventually(&format!("{kind} {name} gives {expected}"), 30, || {
        let said = look_up(cluster, kind, name);
        if said.contains(expected) { Ok(()) } else { Err(said) }
    });
}

/// The processes of the servers.
fn servers(cluster: &Cluster) -> Vec<Identity> {
    let mut members = processes::of(&cluster.description()).unwrap();
    members.retain(|process| processes::command_line(process.pid).first().is_some_and(|name| name == "/dns"));
    members
}

fn cluster() -> Cluster {
    let cluster = Cluster::up_whole("dns", 2, &[]);
    cluster.load(&[http_go("http-go:v1", "v1", 0), busybox("busybox:v1")]);
    cluster.apply(MANIFEST);
    cluster.kubectl("wait --for=condition=Ready pod/client --timeout=60s").ok();
    cluster.kubectl("wait --for=condition=Ready pod/db-0 -n shop --timeout=60s").ok();
    cluster
}

#[test]
fn pods_find_each_other_by_name() {
    let cluster = cluster();
    let of =
        |what: &str, path: &str| cluster.kubectl(&format!("get -n shop {what} -o jsonpath={{{path}}}")).ok();
    let service = of("service/web", ".spec.clusterIP");
    let pod = of("pod/db-0", ".status.podIP");
    for (kind, name, expected) in [
        ("a", "web.shop.svc.cluster.local", &*service),
        ("a", "kubernetes.default.svc.cluster.local", "Name:\tkubernetes.default.svc.cluster.local"),
        ("a", "db.shop.svc.cluster.local", &pod),
        ("a", "db-0.db.shop.svc.cluster.local", &pod),
        ("a", &format!("{}.shop.pod.cluster.local", pod.replace('.', "-")), &pod),
        ("srv", "_http._tcp.web.shop.svc.cluster.local", "0 100 80 web.shop.svc.cluster.local"),
        ("srv", "_sql._tcp.db.shop.svc.cluster.local", "8080 db-0.db.shop.svc.cluster.local"),
        ("a", "out.shop.svc.cluster.local", &service),
        ("ptr", &backwards(&service), "web.shop.svc.cluster.local"),
        ("ptr", &backwards(&pod), "db-0.db.shop.svc.cluster.local"),
        ("a", "nobody.shop.svc.cluster.local", "NXDOMAIN"),
    ] {
        expect(&cluster, kind, name, expected);
    }
    // By the search path, as programs ask; BusyBox' nslookup does not follow it.
    for url in ["http://web.shop/", "http://db-0.db.shop:8080/", "http://out.shop.svc/"] {
        let page = cluster.kubectl(&format!("exec client -- wget -qO- {url}")).ok();
        assert!(page.contains("Welcome! v1"), "{url}: {page}");
    }

    // A pod that is gone has no name any more.
    cluster.kubectl("delete pod db-0 -n shop").ok();
    expect(&cluster, "a", "db-0.db.shop.svc.cluster.local", "NXDOMAIN");
}

#[test]
fn the_corefile_is_the_users_and_one_server_may_be_killed() {
    let cluster = cluster();
    let edit = |from: &str, to: &str| {
        let corefile = cluster.json("get configmap coredns -n kube-system")["data"]["Corefile"].clone();
        let data =
            serde_json::json!({"data": {"Corefile": corefile.as_str().unwrap().replacen(from, to, 1)}});
        let words = "patch configmap coredns -n kube-system --type=merge -p";
        let words: Vec<&str> = words.split(' ').collect();
        cluster.kubectl_words(&[&words[..], &[&data.to_string()]].concat()).ok();
    };
    edit(
        "    ready\n",
        "    ready\n    hosts {\n        192.0.2.7 printer.lan\n        fallthrough\n    }\n",
    );
    cluster.kubectl("rollout restart deployment/coredns -n kube-system").ok();
    cluster.kubectl("rollout status deployment/coredns -n kube-system --timeout=60s").ok();
    expect(&cluster, "a", "printer.lan", "192.0.2.7");

    // One of the two servers is killed: its container is started again, and names are found as soon as it is noticed.
    let service = cluster.kubectl("get service web -n shop -o jsonpath={.spec.clusterIP}").ok();
    let killed = eventually("the servers from before have ended", 60, || match servers(&cluster) {
        servers if servers.len() == 2 => Ok(servers),
        servers => Err(format!("{servers:?}")),
    });
    processes::signal(killed[0], Signal::SIGKILL).unwrap();
    expect(&cluster, "a", "web.shop.svc.cluster.local", &service);
    eventually("the server is back", 60, || {
        let restarts: i64 = cluster
            .items("get pods -n kube-system -l k8s-app=kube-dns")
            .iter()
            .filter_map(|pod| pod["status"]["containerStatuses"][0]["restartCount"].as_i64())
            .sum();
        match (servers(&cluster).as_slice(), restarts) {
            ([_, _], 1) if !servers(&cluster).contains(&killed[0]) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    eventually("both are ready", 60, || {
        match &cluster.json("get deployment coredns -n kube-system")["status"]["readyReplicas"] {
            ready if *ready == 2 => Ok(()),
            other => Err(other.to_string()),
        }
    });
    for _ in 0..20 {
        let said = look_up(&cluster, "a", "web.shop.svc.cluster.local");
        assert!(said.contains(&service), "{said}");
    }

    // A server that is deleted says so first: no look-up fails.
    let pod = cluster.items("get pods -n kube-system -l k8s-app=kube-dns").remove(0);
    let name = pod["metadata"]["name"].as_str().unwrap();
    cluster.kubectl(&format!("delete pod {name} -n kube-system --wait=false")).ok();
    for _ in 0..20 {
        let said = look_up(&cluster, "a", "web.shop.svc.cluster.local");
        assert!(said.contains(&service), "{said}");
    }
    cluster.kubectl("rollout status deployment/coredns -n kube-system --timeout=60s").ok();

    // A Corefile with a mistake: the servers that run go on, and say by name what they do not know.
    edit("    loadbalance\n", "    loadbalance\n    frobnicate\n");
    eventually("the mistake is told", 150, || {
        let said = cluster.kubectl("logs -n kube-system -l k8s-app=kube-dns --tail=50").out;
        if said.contains("Unknown directive 'frobnicate'") { Ok(()) } else { Err(said) }
    });
    expect(&cluster, "a", "printer.lan", "192.0.2.7");
    assert_eq!(cluster.json("get deployment coredns -n kube-system")["status"]["readyReplicas"], 2);
}
