//! What nodes and pods use, and replicas that follow it.

#![allow(missing_docs, clippy::unwrap_used)]

use e2e::{Cluster, busybox, eventually};

/// Pods that work for as long as a file is there.
fn manifest(folder: &str) -> String {
    format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: mill}}
spec:
  selector: {{matchLabels: {{app: mill}}}}
  template:
    metadata: {{labels: {{app: mill}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: mill
        image: 'busybox:v1'
        command: [sh, -c, 'while :; do [ -e /load/on ] || sleep 1; done']
        resources: {{requests: {{cpu: 100m, memory: 16Mi}}, limits: {{cpu: 200m}}}}
        volumeMounts: [{{name: load, mountPath: /load}}]
      volumes:
      - {{name: load, hostPath: {{path: {folder}, type: Directory}}}}
"
    )
}

#[test]
fn kubectl_top_and_replicas_that_follow_the_load() {
    let cluster = Cluster::up_whole("metrics", 1, &["--without", "dns,ingress"]);
    cluster.load(&[busybox("busybox:v1")]);
    let folder = cluster.root().join("load");
    std::fs::create_dir(&folder).unwrap();
    cluster.apply(&manifest(folder.to_str().unwrap()));

    let top = eventually("kubectl top nodes", 90, || {
        let top = cluster.kubectl("top nodes");
        if top.out.contains(&cluster.node(1)) { Ok(top.out) } else { Err(top.out + &top.err) }
    });
    assert!(top.starts_with("NAME") && top.contains("CPU(cores)") && top.contains("Mi"), "{top}");
    let services = cluster.kubectl("get apiservices").ok();
    let line = |name: &str| services.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    let own = line("v1beta1.metrics.k8s.io");
    assert!(own.contains("kube-system/metrics-server") && own.contains("True"), "{own}");
    assert!(line("v1.apps").contains("Local"));
    let nodes = cluster.kubectl("get nodes.metrics.k8s.io").ok();
    assert!(nodes.contains("WINDOW") && nodes.contains(&cluster.node(1)), "{nodes}");
    assert!(cluster.kubectl("explain podmetrics.containers").ok().contains("usage"));

    cluster.kubectl("autoscale deployment mill --cpu=50% --min=1 --max=3").ok();
    // Nobody wants to wait five minutes here.
    let soon = r#"{"spec":{"behavior":{"scaleDown":{"stabilizationWindowSeconds":0}}}}"#;
    cluster.kubectl_words(&["patch", "hpa", "mill", "--type=merge", "-p", soon]).ok();
    eventually("pods are measured", 60, || {
        let top = cluster.kubectl("top pods --containers");
        if top.out.contains("mill") && top.out.contains("POD") { Ok(()) } else { Err(top.out + &top.err) }
    });
    let scaler = |what: &str, wanted: &dyn Fn(&str) -> bool| {
        eventually(what, 180, || {
            let hpa = cluster.kubectl("get hpa mill --no-headers").ok();
            if wanted(&hpa) { Ok(hpa) } else { Err(hpa) }
        })
    };
    scaler("the idle one is measured", &|hpa| {
        hpa.contains("cpu: ") && hpa.contains("%/50%") && !hpa.contains("unknown")
    });
    let replicas = |hpa: &str| hpa.split_whitespace().rev().nth(1).unwrap().to_owned();

    std::fs::write(folder.join("on"), "").unwrap();
    scaler("replicas follow the load", &|hpa| replicas(hpa) == "3");
    let described = cluster.kubectl("describe hpa mill").ok();
    for said in
        ["SuccessfulRescale", "New size: ", "cpu resource utilization (percentage of request) above target"]
    {
        assert!(described.contains(said), "{described}");
    }
    std::fs::remove_file(folder.join("on")).unwrap();
    scaler("and come back", &|hpa| replicas(hpa) == "1");
    assert!(cluster.kubectl("describe hpa mill").ok().contains("All metrics below target"));

    // Without its server the group says why it does not answer.
    cluster.kubectl("scale -n kube-system deployment metrics-server --replicas=0").ok();
    eventually("the metrics API is gone", 60, || {
        let service = cluster.kubectl("get apiservices v1beta1.metrics.k8s.io --no-headers").ok();
        if service.contains("False (MissingEndpoints)") { Ok(()) } else { Err(service) }
    });
    let refused = cluster.kubectl("top nodes").refused();
    assert!(
        refused.contains("Metrics API not available") || refused.contains("unable to handle"),
        "{refused}"
    );
    eventually("the autoscaler says so", 60, || {
        let described = cluster.kubectl("describe hpa mill").ok();
        if described.contains("FailedGetResourceMetric") { Ok(()) } else { Err(described) }
    });
}
