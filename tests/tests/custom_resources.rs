//! A user brings a kind of their own, uses it at once, and takes it away.

#![allow(missing_docs, clippy::unwrap_used)]

use e2e::{Cluster, eventually};

const DEFINITION: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: crontabs.stable.example.com}
spec:
  group: stable.example.com
  scope: Namespaced
  names: {plural: crontabs, singular: crontab, kind: CronTab, shortNames: [ct], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            description: What is to be run when.
            x-kubernetes-validations:
            - {rule: "self.replicas <= 10", message: "no more than ten"}
            properties:
              cronSpec: {type: string, pattern: '^(\d+|\*)(\s+(\d+|\*)){4}$', description: The schedule.}
              replicas: {type: integer, minimum: 1, default: 1}
    additionalPrinterColumns:
    - {name: Spec, type: string, jsonPath: .spec.cronSpec}
    - {name: Replicas, type: integer, jsonPath: .spec.replicas}
    - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
    subresources: {status: {}, scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}}
"#;

fn crontab(name: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: stable.example.com/v1, kind: CronTab, metadata: {{name: {name}}}, spec: {{{spec}}}}}"
    )
}

#[test]
fn a_kind_of_ones_own() {
    let cluster = Cluster::up("custom", 1);
    cluster.kubectl_fed("apply -f -", DEFINITION).ok();
    cluster.kubectl("wait --for=condition=Established crd/crontabs.stable.example.com --timeout=5s").ok();
    let every_minute = "cronSpec: '* * * * 5', replicas: 3";
    cluster.kubectl_fed("apply -f -", &crontab("a", every_minute)).ok();
    cluster.kubectl_fed("apply --server-side -f -", &crontab("b", "cronSpec: '1 * * * *'")).ok();

    let table = cluster.kubectl("get ct").ok();
    let words: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[0], ["NAME", "SPEC", "REPLICAS", "AGE"], "{table}");
    assert_eq!(words[1][..7], ["a", "*", "*", "*", "*", "5", "3"], "{table}");
    assert_eq!(words[2][..7], ["b", "1", "*", "*", "*", "*", "1"], "{table}");
    assert!(cluster.kubectl("get all").ok().contains("crontab.stable.example.com/a"));
    let explained = cluster.kubectl("explain crontab.spec").ok();
    assert!(explained.contains("What is to be run when.") && explained.contains("cronSpec"), "{explained}");
    cluster.kubectl("scale ct/a --replicas=5").ok();
    assert_eq!(cluster.kubectl("get ct a -o jsonpath={.spec.replicas}").ok(), "5");
    cluster.kubectl("label ct a x=y").ok();
    cluster.kubectl_words(&["patch", "ct", "a", "--type=merge", "-p", r#"{"spec":{"replicas":6}}"#]).ok();

    for (spec, text) in [
        ("cronSpec: daily", "spec.cronSpec: Invalid value: \"daily\": spec.cronSpec in body should match"),
        (
            "replicas: 0",
            "spec.replicas: Invalid value: 0: spec.replicas in body should be greater than or equal to 1",
        ),
        (
            "replicas: many",
            "spec.replicas: Invalid value: \"string\": spec.replicas in body must be of type integer: \"string\"",
        ),
        ("replicas: 11", "spec: Invalid value: no more than ten"),
        ("replicaz: 1", "strict decoding error: unknown field \"spec.replicaz\""),
    ] {
        let refused = cluster.kubectl_fed("create -f -", &crontab("wrong", spec)).refused();
        assert!(refused.contains(text), "{refused}");
    }

    // Controllers know the kind as well: what a custom object owns goes with it, and a namespace is emptied.
    let uid = cluster.kubectl("get ct a -o jsonpath={.metadata.uid}").ok();
    let owned = format!(
        "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: owned, ownerReferences: [{{apiVersion: stable.example.com/v1, kind: CronTab, name: a, uid: {uid}}}]}}}}"
    );
    cluster.kubectl_fed("create -f -", &owned).ok();
    cluster.kubectl("create namespace full").ok();
    cluster.kubectl_fed("apply -n full -f -", &crontab("c", every_minute)).ok();
    cluster.kubectl("delete namespace full --timeout=30s").ok();
    cluster.kubectl("delete ct a").ok();
    // New kinds are looked for every half minute.
    eventually("the owned ConfigMap goes", 60, || {
        if cluster.kubectl("get configmap owned").code == 0 { Err("is there".into()) } else { Ok(()) }
    });

    cluster.kubectl("delete crd crontabs.stable.example.com --timeout=30s").ok();
    let gone = cluster.kubectl("get ct").refused();
    // What kubectl says depends on whether it remembers the kind.
    let known = gone.contains("could not find the requested resource");
    assert!(known || gone.contains("the server doesn't have a resource type \"ct\""), "{gone}");
}
