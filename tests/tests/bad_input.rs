//! What people get wrong, and the answers they get: Kubernetes' own, and nothing falls.

#![allow(missing_docs, clippy::unwrap_used)]

use e2e::{Cluster, busybox, eventually};

const POD: &str =
    "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{name: a, image: b}]}}";

#[test]
fn refusals_are_kubernetes_own() {
    let cluster = Cluster::up("bad", 1);
    cluster.kubectl("create configmap once --from-literal=a=b").ok();
    let stale = cluster.kubectl("get configmap once -o yaml").ok();
    cluster.kubectl("label configmap once touched=yes").ok();
    let service = "{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {ports: [{name: a, port: 80}, {name: b, port: 80}]}}";
    let huge = format!(
        "{{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{{\"name\":\"huge\"}},\"data\":{{\"a\":\"{}\"}}}}",
        "x".repeat(4 << 20)
    );
    let raw = "create --raw /api/v1/namespaces/default/configmaps -f -";

    let cases: [(&str, &str, &str); 13] = [
        ("create -f -", "{apiVersion: v1, kind: Pod, metadata: [", "error parsing"),
        (raw, "{\"kind\": \"ConfigMap\", ", "BadRequest"),
        (raw, &huge, "limit is 3145728"),
        ("create -f -", &POD.replace("containers", "contianers"), "unknown field \"spec.contianers\""),
        (
            "create -f -",
            &POD.replace("image: b", "image: b, stdin: maybe"),
            "Pod in version \"v1\" cannot be handled as a Pod",
        ),
        (
            "create -f -",
            &POD.replace("name: p", "name: Not_A_Name"),
            "metadata.name: Invalid value: \"Not_A_Name\": a lowercase RFC 1123 subdomain must consist of",
        ),
        (
            "create -f -",
            &POD.replace("image: b", "image: b, resources: {requests: {cpu: much}}"),
            "quantities must match the regular expression",
        ),
        (
            "create -f -",
            "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: []}}",
            "spec.containers: Required value",
        ),
        (
            "create -f -",
            "{apiVersion: none/v1, kind: Nothing, metadata: {name: p}}",
            "no matches for kind \"Nothing\" in version \"none/v1\"",
        ),
        ("create -f -", service, "spec.ports[1]: Duplicate value"),
        (
            "replace -f -",
            &stale,
            "the object has been modified; please apply your changes to the latest version and try again",
        ),
        ("create configmap once", "", "configmaps \"once\" already exists"),
        ("get --raw /apis/nothing/v1", "", "the server could not find the requested resource"),
    ];
    for (line, input, part) in cases {
        let refusal = cluster.kubectl_fed(line, input).refused();
        assert!(refusal.contains(part), "kubectl {line}: {refusal}");
    }

    // Nobody without a known name gets in, but anybody may ask after the server's health and version.
    let anonymous = |words: &str| {
        let server = cluster.description().server();
        cluster
            .kubectl(&format!("--kubeconfig /dev/null --server {server} --insecure-skip-tls-verify --username nobody --password none {words}"))
    };
    let refusal = anonymous("get --raw /api").refused();
    assert!(refusal.contains("User \"system:anonymous\" cannot get path \"/api\""), "{refusal}");
    assert_eq!(anonymous("get --raw /healthz").ok(), "ok");
    assert!(anonymous("get --raw /version").ok().contains("gitVersion"));

    // A container that has ended takes no commands.
    cluster.load(&[busybox("busybox:test")]);
    cluster.apply(
        "{apiVersion: v1, kind: Pod, metadata: {name: done}, spec: {restartPolicy: Never, containers: [{name: a, \
         image: 'busybox:test', command: ['true']}]}}",
    );
    eventually("the pod completes", 30, || match cluster.json("get pod done")["status"]["phase"].as_str() {
        Some("Succeeded") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let refusal = cluster.kubectl("exec done -- true").refused();
    assert!(refusal.contains("cannot exec into a container in a completed pod"), "{refusal}");

    // After all this every daemon is the one that was started.
    // Somebody reads the output who has read enough.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut shown = std::process::Command::new(e2e::bin_dir().join("skiff"));
    shown.args(["status", "--name", cluster.name(), "--root"]).arg(cluster.root()).stdout(writer);
    let left = String::from_utf8_lossy(&shown.output().unwrap().stderr).into_owned();
    assert_eq!(left, "");
    let status = cluster.skiff(&["status"]);
    let restarted: Vec<&str> =
        status.lines().filter(|line| line.contains("running") && !line.trim_end().ends_with(" 0")).collect();
    assert!(restarted.is_empty(), "{status}");
}
