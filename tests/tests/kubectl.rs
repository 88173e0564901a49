//! kubectl as a person types it all day: every verb that changes or shows something, and what it answers.

#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    fs::Permissions,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    process::Stdio,
};

use e2e::{Cluster, busybox, eventually, http_go};

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
    let forced = fed("replace --force -f -", &map("five")).ok();
    assert!(forced.contains("configmap/m replaced"), "{forced}");
    // Sets are what prunes in the future: a Secret keeps what belongs to one.
    let set = |text: &str| {
        let file = folder.join("set.yaml");
        std::fs::write(&file, text).unwrap();
        let path = file.to_string_lossy().into_owned();
        let words = ["apply", "-n", "default", "--prune", "--applyset=parts", "-f", &path];
        let output = cluster.kubectl_command(&words).env("KUBECTL_APPLYSET", "true").output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    set(&(labelled("one") + &labelled("two")));
    let pruned = set(&labelled("one"));
    assert!(pruned.contains("configmap/two pruned"), "{pruned}");
}

/// Programs that kubectl starts and fills in, subresources, and everything that `get` prints.
fn editors_and_printers(cluster: &Cluster) {
    let say = |line: &str| cluster.kubectl(line).ok();
    let editor = cluster.root().join("editor");
    std::fs::write(
        &editor,
        "#!/bin/sh\nsed -i 's/replicas: 0/replicas: 2/; s/  a: .*/  a: edited/' \"$1\"\n",
    )
    .unwrap();
    std::fs::set_permissions(&editor, Permissions::from_mode(0o755)).unwrap();
    let edit = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let output = cluster.kubectl_command(&words).env("EDITOR", &editor).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(edit("edit cm settings"), "configmap/settings edited");
    assert_eq!(say("get cm settings -o jsonpath={.data.a}"), "edited");
    assert_eq!(edit("edit deployment spare"), "deployment.apps/spare edited");
    assert_eq!(say("get deployment spare -o jsonpath={.spec.replicas}"), "2");
    assert_eq!(
        say(r#"patch deployment spare --subresource=scale --type=merge -p {"spec":{"replicas":0}}"#).trim(),
        "scale.autoscaling/spare patched"
    );
    assert!(say("get deployment spare --subresource=scale -o yaml").contains("kind: Scale"));
    assert_eq!(
        say("scale deployment spare --current-replicas=0 --replicas=0").trim(),
        "deployment.apps/spare scaled"
    );
    for (line, part) in [
        ("get cm settings -o kyaml", "kind: \"ConfigMap\""),
        ("get cm settings -o jsonpath-as-json={.data}", "\"a\": \"edited\""),
        ("get cm settings -o json --show-managed-fields", "\"managedFields\""),
        ("get cm --show-labels --chunk-size=1", "LABELS"),
        ("get deployment spare -o wide", "SELECTOR"),
        ("get cm --sort-by=.metadata.name", "settings"),
        ("get services --field-selector=metadata.name=plain", "plain"),
        ("get all", "deployment.apps/spare"),
        ("auth can-i --list", "*.*"),
        ("cluster-info", "is running at"),
        ("api-resources --verbs=list --namespaced -o name", "deployments.apps"),
        (
            "explain horizontalpodautoscaler.spec --recursive --api-version=autoscaling/v1",
            "targetCPUUtilizationPercentage",
        ),
        ("describe ingress front", "example.org"),
        ("describe role reader", "pods"),
        ("describe quota small", "Resource "),
        ("describe hpa spare", "Deployment/spare"),
        ("describe namespace default", "kubernetes.io/metadata.name=default"),
    ] {
        let shown = say(line);
        assert!(shown.contains(part), "{line}: {shown}");
    }
    for (line, answer) in [
        ("wait --for=create cm/settings --timeout=5s", "configmap/settings condition met"),
        ("wait --for=jsonpath={.data.a}=edited cm/settings --timeout=5s", "configmap/settings condition met"),
        (
            "set subject rolebinding/readers --user=eve",
            "rolebinding.rbac.authorization.k8s.io/readers subjects updated",
        ),
        ("set selector service/plain app=other", "service/plain selector updated"),
        (
            "delete cm settings --dry-run=server",
            "configmap \"settings\" deleted from default namespace (server dry run)",
        ),
        ("create job again --from=cronjob/nightly", "job.batch/again created"),
        ("create service loadbalancer front --tcp=80:8080", "service/front created"),
        ("create secret docker-registry pull --docker-username=a --docker-password=b", "secret/pull created"),
    ] {
        assert_eq!(say(line).trim(), answer, "{line}");
    }
    assert!(cluster.kubectl("top pods").refused().contains("Metrics API not available"));
    assert!(
        cluster.kubectl("get pods --field-selector=a=b").refused().contains("field label not supported: a")
    );

    // A watch shows what is there, and then what happens.
    let words = ["get", "cm", "settings", "-w", "-o", "jsonpath={.data.a}{\"\\n\"}"];
    let mut watch = cluster.kubectl_command(&words).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "edited");
    say(r#"patch cm settings --type=merge -p {"data":{"a":"watched"}}"#);
    assert_eq!(lines.next().unwrap().unwrap(), "watched");
    watch.kill().unwrap();
    watch.wait().unwrap();

    cluster.apply(&format!(
        "{{apiVersion: certificates.k8s.io/v1, kind: CertificateSigningRequest, metadata: {{name: me}}, spec: {{request: {REQUEST}, signerName: example.org/x, usages: [client auth]}}}}"
    ));
    assert!(say("get csr me").contains("Pending"));
    assert!(say("certificate approve me").contains("me approved"));
    assert!(cluster.kubectl("certificate deny me").refused().contains("is already Approved"));
    assert!(say("describe csr me").contains("Common Name:    x"));
}

/// A request for a certificate of `CN=x`.
const REQUEST: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIRk1HNENBUUF3RERFS01BZ0dBMVVFQXd3QmVEQlpNQk1HQnlxR1NNNDlBZ0VHQ0NxR1NNNDlBd0VIQTBJQQpCTHgxYkRzNlYzMmVKbG04S2dseHRLakh4L1JoUGdiMUphdWFVL3RKQmQydnFKZlRHMzV0TEt6THRIREZsWXp1CnUrWmNCdUE0anRqeWJZR2htQXB5RnRpZ0FEQUtCZ2dxaGtqT1BRUURBZ05IQURCRUFpQWlJVWFvNlZ2cWdkNmQKeTNCemZXeDlkMitVdVJ4MndPeFhFU3ZyVXAyZHhRSWdLYVBhUklyWnViaDJQaW1NQm03U3ZTYnhSZ1BDWG9iUgpzWEFqU0l1WkVUdz0KLS0tLS1FTkQgQ0VSVElGSUNBVEUgUkVRVUVTVC0tLS0tCg==";

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

    say("debug single --image=busybox:v1 --target=single --container=look -- cat /proc/1/cmdline");
    eventually("an ephemeral container has looked at the program beside it", 30, || {
        let end = say(
            "get pod single -o jsonpath={.status.ephemeralContainerStatuses[0].state.terminated.exitCode}",
        );
        if end == "0" { Ok(()) } else { Err(say("describe pod single")) }
    });
    assert!(say("logs single -c look").contains("http-go"));
    assert_eq!(say("get pod single -o jsonpath={.status.containerStatuses[0].ready}"), "true");

    // More memory while it runs, as the program itself sees it.
    let sized = "{apiVersion: v1, kind: Pod, metadata: {name: sized}, spec: {terminationGracePeriodSeconds: 0, \
        containers: [{name: c, image: busybox:v1, command: [sleep, '1000'], \
        resources: {limits: {cpu: 100m, memory: 40Mi}}}]}}";
    cluster.apply(sized);
    say("wait --for=condition=Ready pod/sized --timeout=60s");
    say(
        r#"patch pod sized --subresource=resize -p {"spec":{"containers":[{"name":"c","resources":{"limits":{"memory":"80Mi"},"requests":{"memory":"80Mi"}}}]}}"#,
    );
    eventually("the container may use more", 20, || {
        let files = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max";
        let limit =
            cluster.kubectl_command(&["exec", "sized", "--", "sh", "-c", &format!("{files} 2>/dev/null")]);
        let limit = { limit }.output().unwrap().stdout;
        match String::from_utf8_lossy(&limit).trim() {
            "83886080" => Ok(()),
            other => Err(other.to_owned()),
        }
    });
    assert_eq!(say("get pod sized -o jsonpath={.status.containerStatuses[0].restartCount}"), "0");
    say(
        r#"patch pod sized --subresource=resize -p {"spec":{"containers":[{"name":"c","resources":{"limits":{"cpu":"999"},"requests":{"cpu":"999"}}}]}}"#,
    );
    say("wait --for=condition=PodResizePending pod/sized --timeout=20s");
    assert_eq!(say("get pod sized -o jsonpath={.status.containerStatuses[0].resources.limits.cpu}"), "100m");

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
    eventually("pods find the API server again", 20, || {
        match cluster.kubectl("get service kubernetes").code {
            0 => Ok(()),
            code => Err(format!("kubectl ends with {code}")),
        }
    });
    say("delete namespace team --timeout=60s");
    let left = cluster.items("get deployments,replicasets,pods");
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn everyday_commands() {
    let cluster = Cluster::up("kubectl", 1);
    cluster.load(&[http_go("http-go:v1", "v1", 0), http_go("http-go:v2", "v2", 0), busybox("busybox:v1")]);
    objects(&cluster);
    editors_and_printers(&cluster);
    manifests(&cluster);
    workloads(&cluster);
}
