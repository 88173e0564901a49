//! From a pushed image to containers on two nodes, as a person sees it with kubectl.

#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;

use e2e::{Cluster, Registry, busybox, http_go};

fn deployment(image: &str, replicas: u32) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: http-go}}\nspec:\n  replicas: {replicas}\n  selector: \
         {{matchLabels: {{app: http-go}}}}\n  template:\n    metadata: {{labels: {{app: http-go}}}}\n    spec:\n      \
         terminationGracePeriodSeconds: 5\n      containers:\n      - name: http-go\n        image: {image}\n        \
         ports: [{{containerPort: 8080}}]\n"
    )
}

fn header(table: &str) -> Vec<&str> {
    table.lines().next().unwrap_or_default().split_whitespace().collect()
}

#[test]
fn six_pods_on_two_nodes() {
    let cluster = Cluster::up("reg", 2);
    let registry = Registry::start(&cluster);
    let images: Vec<String> = ["v1", "v2", "v3"]
        .map(|version| registry.push(&http_go(&format!("http-go:{version}"), version, 0)))
        .to_vec();

    assert_eq!(cluster.apply(&deployment(&images[0], 6)), "deployment.apps/http-go created\n");
    cluster.kubectl("rollout status deployment/http-go --timeout=60s").ok();

    let pods = cluster.items("get pods -l app=http-go");
    assert_eq!(pods.len(), 6);
    let mut per_node = BTreeMap::new();
    for pod in &pods {
        *per_node.entry(pod["spec"]["nodeName"].as_str().unwrap().to_owned()).or_insert(0) += 1;
        assert_eq!(pod["status"]["phase"], "Running");
    }
    assert_eq!(per_node, BTreeMap::from([(cluster.node(1), 3), (cluster.node(2), 3)]));

    // The columns that people know.
    assert_eq!(header(&cluster.kubectl("get pods").ok()), ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]);
    let wide = cluster.kubectl("get pods -o wide").ok();
    assert_eq!(&header(&wide)[5..8], ["IP", "NODE", "NOMINATED"]);
    let deployments = cluster.kubectl("get deployments").ok();
    assert_eq!(header(&deployments), ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]);
    let row: Vec<&str> = deployments.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..4], ["http-go", "6/6", "6", "6"]);
    assert_eq!(
        header(&cluster.kubectl("get replicasets").ok()),
        ["NAME", "DESIRED", "CURRENT", "READY", "AGE"]
    );
    assert_eq!(header(&cluster.kubectl("get nodes").ok()), ["NAME", "STATUS", "ROLES", "AGE", "VERSION"]);

    // The nodes fetched the image themselves, from that registry.
    let pulls = cluster.items("get events --field-selector reason=Pulled");
    let said = |node: &String| {
        pulls.iter().any(|event| {
            event["source"]["host"] == **node
                && event["message"]
                    .as_str()
                    .unwrap_or_default()
                    .starts_with(&format!("Successfully pulled image \"{}\"", images[0]))
        })
    };
    assert!(per_node.keys().all(said), "{pulls:?}");

    // An unchanged manifest changes nothing.
    assert_eq!(cluster.apply(&deployment(&images[0], 6)), "deployment.apps/http-go unchanged\n");

    // An image that nobody has pushed is reported where people look.
    cluster.kubectl(&format!("run nobody --image={}-nobody", images[0])).ok();
    e2e::eventually("the pull fails visibly", 30, || {
        let seen = cluster.kubectl("get pod nobody").ok();
        let failed = seen.contains("ErrImagePull") || seen.contains("ImagePullBackOff");
        failed.then_some(()).ok_or(seen)
    });
}

#[test]
fn logs_and_exec_reach_containers() {
    let cluster = Cluster::up("exec", 1);
    cluster.load(&[busybox("busybox:test")]);
    cluster.apply(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: shell}\nspec:\n  terminationGracePeriodSeconds: 0\n  containers:\n  - name: shell\n    \
         image: busybox:test\n    command: [sh, -c, 'echo one; echo two; exec sleep 3600']\n    env:\n    - {name: COLOUR, \
         value: blue}\n    - {name: WHO, valueFrom: {fieldRef: {fieldPath: metadata.name}}}\n",
    );
    cluster.kubectl("wait --for=condition=Ready pod/shell --timeout=30s").ok();
    assert_eq!(cluster.kubectl("logs shell").ok(), "one\ntwo\n");
    assert_eq!(cluster.kubectl("logs shell --tail=1").ok(), "two\n");
    assert_eq!(
        cluster.kubectl_words(&["exec", "shell", "--", "sh", "-c", "echo $COLOUR $WHO"]).ok(),
        "blue shell\n"
    );
    assert_eq!(cluster.kubectl_fed("exec -i shell -- cat", "through and back").ok(), "through and back");
    let failed = cluster.kubectl_words(&["exec", "shell", "--", "sh", "-c", "exit 7"]);
    assert_eq!(failed.code, 7, "{failed:?}");
    cluster.kubectl("delete pod shell --wait=true --timeout=20s").ok();
    assert!(cluster.kubectl("get pod shell").refused().contains("pods \"shell\" not found"));
}
