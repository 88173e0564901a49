//! kubectl as a person types it all day: every verb that changes or shows something, and what it answers.

#![allow(missing_docs, clippy::unwrap_used)]

use e2e::{Cluster, eventually, http_go};

const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {name: web, image: http-go:v1, ports: [{containerPort: 8080}]}
";

/// Objects that are made, shown and changed without any container.
fn objects(cluster: &Cluster) {
    let say = |line: &str| cluster.kubectl(line).ok();
    for line in [
        "create namespace team",
        "create configmap settings --from-literal=a=1 --from-literal=b=2",
        "create secret generic login --from-literal=user=me",
        "create serviceaccount robot",
        "create role reader --verb=get --resource=pods",
        "create rolebinding readers --role=reader --serviceaccount=default:robot",
        "create clusterrole watcher --verb=watch --resource=nodes",
        "create clusterrolebinding watchers --clusterrole=watcher --user=ann",
        "create quota small --hard=pods=50",
        "create priorityclass urgent --value=1000 --description=now",
        "create poddisruptionbudget web --selector=app=web --min-available=1",
        "create service clusterip plain --tcp=80:8080",
        "create service nodeport open --tcp=80:8080",
        "create service externalname outside --external-name=example.org",
        "create ingress front --class=none --rule=example.org/=plain:80",
        "create job once --image=http-go:v1",
        "create cronjob nightly --image=http-go:v1 --schedule=@daily",
        "create deployment spare --image=http-go:v1 --replicas=0",
    ] {
        let answer = say(line);
        assert!(answer.trim_end().ends_with(" created"), "{line}: {answer}");
    }
    assert!(say("create token robot").trim().split('.').count() == 3);
    assert_eq!(say("get configmap settings -o jsonpath={.data.b}"), "2");
    assert_eq!(say("get secret login -o go-template={{.data.user|base64decode}}"), "me");
    assert_eq!(
        say("get configmap settings -o custom-columns=N:.metadata.name --no-headers").trim(),
        "settings"
    );
    assert_eq!(say("get cm settings -o name").trim(), "configmap/settings");
    assert!(say("get cm settings -o yaml").contains("\n  a: \"1\"\n"));
    for (line, answer) in [
        ("label cm settings tier=one", "configmap/settings labeled"),
        ("label cm settings tier=two --overwrite", "configmap/settings labeled"),
        ("annotate cm settings note=x", "configmap/settings annotated"),
        (r#"patch cm settings --type=merge -p {"data":{"a":"3"}}"#, "configmap/settings patched"),
        (
            r#"patch cm settings --type=json -p [{"op":"remove","path":"/data/b"}]"#,
            "configmap/settings patched",
        ),
        (r#"patch cm settings -p {"data":{"c":"4"}}"#, "configmap/settings patched"),
        ("label cm settings tier-", "configmap/settings unlabeled"),
        ("set image deployment/spare http-go=http-go:v2", "deployment.apps/spare image updated"),
        ("set env deployment/spare A=b", "deployment.apps/spare env updated"),
        (
            "set resources deployment/spare --requests=cpu=10m",
            "deployment.apps/spare resource requirements updated",
        ),
        ("set serviceaccount deployment/spare robot", "deployment.apps/spare serviceaccount updated"),
        (
            "autoscale deployment spare --min=0 --max=3 --cpu=80%",
            "horizontalpodautoscaler.autoscaling/spare autoscaled",
        ),
        ("rollout pause deployment/spare", "deployment.apps/spare paused"),
        ("rollout resume deployment/spare", "deployment.apps/spare resumed"),
        ("rollout restart deployment/spare", "deployment.apps/spare restarted"),
    ] {
        assert_eq!(say(line).trim(), answer, "{line}");
    }
    assert_eq!(say("get cm settings -o jsonpath={.data}"), r#"{"a":"3","c":"4"}"#);
    let taken = cluster.kubectl("annotate cm settings note=y").refused();
    assert!(taken.contains("--overwrite is false but found the following declared annotation(s): 'note' already has a value (x)"), "{taken}");
    assert!(say("explain deployment.spec.strategy --recursive").contains("maxSurge"));
    assert!(say("api-resources --api-group=apps").contains("statefulsets"));
    assert!(say("api-versions").contains("autoscaling/v2\n"));
    assert!(say("auth whoami").contains("kubernetes-admin"));
    assert_eq!(say("auth can-i delete nodes").trim(), "yes");
    assert!(say("describe cm settings").contains("Events:  <none>"));
    let missing = cluster.kubectl("get cm nowhere").refused();
    assert_eq!(missing.trim(), r#"Error from server (NotFound): configmaps "nowhere" not found"#);
}

/// Manifests: apply in both ways, diff, edit, replace, prune, kustomize.
fn manifests(cluster: &Cluster) {
    let map = |value: &str| {
        format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: m}}, data: {{k: {value}}}}}")
    };
    let fed = |line: &str, text: &str| cluster.kubectl_fed(line, text);
    assert_eq!(fed("apply -f -", &map("one")).ok().trim(), "configmap/m created");
    assert_eq!(fed("apply -f -", &map("one")).ok().trim(), "configmap/m unchanged");
    assert_eq!(
        fed("apply -f - --dry-run=server", &map("two")).ok().trim(),
        "configmap/m configured (server dry run)"
    );
    let diff = fed("diff -f -", &map("two"));
    assert_eq!(diff.code, 1, "{}", diff.err);
    assert!(diff.out.contains("-  k: one\n+  k: two\n"), "{}", diff.out);
    assert_eq!(fed("replace -f -", &map("two")).ok().trim(), "configmap/m replaced");
    assert_eq!(
        fed("apply --server-side --force-conflicts -f -", &map("three")).ok().trim(),
        "configmap/m serverside-applied"
    );
    let conflict = fed("apply --server-side --field-manager=other -f -", &map("four")).refused();
    assert!(conflict.contains("conflict with \"kubectl\": .data.k"), "{conflict}");
    let strict =
        fed("apply -f -", "{apiVersion: v1, kind: ConfigMap, metadata: {name: m}, dat: {k: v}}").refused();
    assert!(strict.contains(r#"unknown field "dat""#), "{strict}");

    let folder = cluster.root().join("kustom");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("kustomization.yaml"), "namePrefix: pre-\nresources: [map.yaml]\n").unwrap();
    std::fs::write(folder.join("map.yaml"), map("k")).unwrap();
    let path = folder.to_string_lossy().into_owned();
    assert_eq!(cluster.kubectl(&format!("apply -k {path}")).ok().trim(), "configmap/pre-m created");

    let labelled = |name: &str| {
        format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}, labels: {{set: s}}}}}}\n---\n")
    };
    fed("apply -f -", &(labelled("keep") + &labelled("drop"))).ok();
    let pruned = fed("apply --prune -l set=s -f -", &labelled("keep")).ok();
    assert!(pruned.contains("configmap/drop pruned"), "{pruned}");
}

/// Pods on a node: run, look into, cordon, drain, delete in all ways.
fn workloads(cluster: &Cluster) {
    let say = |line: &str| cluster.kubectl(line).ok();
    cluster.apply(WEB);
    say("rollout status deployment/web --timeout=60s");
    say("wait --for=condition=Available deployment/web --timeout=30s");
    assert_eq!(say("expose deployment web --port=80 --target-port=8080").trim(), "service/web exposed");
    assert_eq!(say("scale deployment web --replicas=2").trim(), "deployment.apps/web scaled");
    say("wait --for=jsonpath={.status.readyReplicas}=2 deployment/web --timeout=60s");
    say("run single --image=http-go:v1 --restart=Never");
    say("wait --for=condition=Ready pod/single --timeout=60s");
    assert!(say("describe pod single").contains("Scheduled"));
    eventually("events are listed", 20, || {
        let events = say("events --for pod/single");
        if events.contains("Started") { Ok(()) } else { Err(events) }
    });

    let node = cluster.node(1);
    assert_eq!(say(&format!("taint node {node} a=b:NoSchedule")).trim(), format!("node/{node} tainted"));
    assert_eq!(say(&format!("taint node {node} a-")).trim(), format!("node/{node} untainted"));
    assert_eq!(say(&format!("cordon {node}")).trim(), format!("node/{node} cordoned"));
    assert!(say("get nodes").contains("SchedulingDisabled"));
    // The budget allows one of the two pods to go, and no other can take its place.
    let drained = cluster
        .kubectl(&format!("drain {node} --force --ignore-daemonsets --delete-emptydir-data --timeout=8s"));
    assert!(drained.refused().contains("Cannot evict pod as it would violate the pod's disruption budget"));
    say("delete pdb web");
    say(&format!("drain {node} --force --ignore-daemonsets --delete-emptydir-data --timeout=60s"));
    assert_eq!(say(&format!("uncordon {node}")).trim(), format!("node/{node} uncordoned"));
    say("rollout status deployment/web --timeout=60s");

    say("delete deployment web --cascade=orphan");
    let owners = |kind: &str| cluster.items(&format!("get {kind} -l app=web")).len();
    eventually("the replica set is left behind", 20, || match owners("replicaset") {
        1 => Ok(()),
        n => Err(format!("{n} replica sets")),
    });
    say("delete replicaset -l app=web --cascade=foreground --timeout=60s");
    assert_eq!(owners("pods"), 0);
    say("delete all --all --timeout=60s");
    say("delete namespace team --timeout=60s");
    let left = cluster.items("get deployments,replicasets,pods");
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn everyday_commands() {
    let cluster = Cluster::up("kubectl", 1);
    cluster.load(&[http_go("http-go:v1", "v1", 0), http_go("http-go:v2", "v2", 0)]);
    objects(&cluster);
    manifests(&cluster);
    workloads(&cluster);
}
