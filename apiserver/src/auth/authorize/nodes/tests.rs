use api::{Message, selector::FieldSelector};
use serde_json::json;

use super::*;

/// A cache entry.
fn cached(key: &str, mut object: Value) -> CachedObject {
    let (namespace, name) = key.split_once('/').unwrap_or(("", key));
    object["metadata"]["name"] = json!(name);
    object["metadata"]["namespace"] = json!(namespace);
    CachedObject::sample(key, &object)
}

fn pod(key: &str, node: &str) -> CachedObject {
    cached(
        key,
        json!({"spec": {
            "nodeName": node,
            "serviceAccountName": "bot",
            "imagePullSecrets": [{"name": "pull"}],
            "containers": [{
                "env": [{"valueFrom": {"secretKeyRef": {"name": "env"}}}, {"valueFrom": {"configMapKeyRef": {"name": "env"}}}],
                "envFrom": [{"secretRef": {"name": "from"}}, {"configMapRef": {"name": "from"}}],
            }],
            "volumes": [
                {"name": "s", "secret": {"secretName": "mounted"}},
                {"name": "m", "configMap": {"name": "mounted"}},
                {"name": "c", "persistentVolumeClaim": {"claimName": "claim"}},
                {"name": "e", "ephemeral": {"volumeClaimTemplate": {}}},
                {"name": "p", "projected": {"sources": [{"secret": {"name": "part"}}, {"configMap": {"name": "part"}}]}},
                {"name": "f", "flexVolume": {"secretRef": {"name": "flex"}}},
            ],
        }}),
    )
}

fn volume(name: &str) -> CachedObject {
    cached(
        name,
        json!({"spec": {
            "claimRef": {"namespace": "a", "name": "claim"},
            "csi": {"nodeStageSecretRef": {"namespace": "store", "name": "stage"}},
        }}),
    )
}

fn ask<'a>(verb: &'a str, resource: &'a str, key: &'a str, fields: Option<&'a FieldSelector>) -> Action<'a> {
    let (group, resource) = resource.rsplit_once(':').unwrap_or(("", resource));
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let (namespace, name) = key.split_once('/').unwrap_or(("", key));
    Action::Resource { verb, group, resource, subresource, namespace, name, fields }
}

#[test]
fn a_node_reads_what_its_pods_need() {
    let mut relations = Relations::default();
    relations.take(0, &pod("a/p", "one"));
    relations.take(0, &pod("a/q", "one"));
    relations.take(1, &volume("pv"));
    relations.take(2, &cached("va", json!({"spec": {"nodeName": "one"}})));
    let allowed = [
        ("get", "secrets", "a/pull"),
        ("list", "secrets", "a/env"),
        ("watch", "secrets", "a/from"),
        ("get", "secrets", "a/mounted"),
        ("get", "secrets", "a/part"),
        ("get", "secrets", "a/flex"),
        ("get", "secrets", "store/stage"),
        ("get", "configmaps", "a/env"),
        ("get", "configmaps", "a/from"),
        ("get", "configmaps", "a/mounted"),
        ("get", "configmaps", "a/part"),
        ("get", "persistentvolumeclaims", "a/claim"),
        ("get", "persistentvolumeclaims", "a/p-e"),
        ("patch", "persistentvolumeclaims/status", "a/claim"),
        ("get", "persistentvolumes", "pv"),
        ("get", "storage.k8s.io:volumeattachments", "va"),
        ("get", "serviceaccounts", "a/bot"),
        ("create", "serviceaccounts/token", "a/bot"),
        ("get", "pods", "a/p"),
    ];
    let related = |relations: &Relations, node: &str| {
        let may = |(verb, resource, key): &(&str, &str, &str)| {
            relations.allow(node, &ask(verb, resource, key, None), &[]).is_ok()
        };
        allowed.iter().filter(|asked| may(asked)).count()
    };
    assert_eq!((related(&relations, "one"), related(&relations, "two")), (allowed.len(), 0));
    // One pod is enough.
    relations.forget(0, &pod("a/q", "one"));
    assert_eq!(related(&relations, "one"), allowed.len());
    relations.clear(1);
    assert_eq!(related(&relations, "one"), allowed.len() - 2);
    relations.take(1, &volume("pv"));
    let moved = [pod("a/p", "two"), pod("a/p", "")];
    relations.take(0, &moved[0]);
    assert_eq!((related(&relations, "one"), related(&relations, "two")), (1, allowed.len() - 1));
    relations.take(0, &moved[1]);
    relations.clear(2);
    assert_eq!((related(&relations, "one"), related(&relations, "two"), relations.nodes.len()), (0, 0, 0));
}

#[test]
fn what_a_node_says_it_runs_gives_it_nothing() {
    let mut relations = Relations::default();
    let mirror = json!({
        "metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}},
        "spec": {"nodeName": "one", "volumes": [{"name": "s", "secret": {"secretName": "s"}}]},
    });
    relations.take(0, &cached("a/m", mirror));
    assert!(relations.allow("one", &ask("get", "pods", "a/m", None), &[]).is_ok());
    assert!(relations.allow("one", &ask("get", "secrets", "a/s", None), &[]).is_err());
}

#[test]
fn a_node_is_told_why_not() {
    let relations = Relations::default();
    let fields = |text: &str| FieldSelector::parse(text).expect("is one");
    let (mine, others) = (fields("spec.nodeName=one"), fields("spec.nodeName=two"));
    let unrelated = "no relationship found between node 'one' and this object";
    let leases = "coordination.k8s.io:leases";
    for (verb, resource, key, fields, expected) in [
        ("get", "secrets", "a/s", None, Err(unrelated)),
        ("list", "secrets", "a/", None, Err("No Object name found")),
        ("list", "secrets", "", None, Err("can only read namespaced object of this type")),
        ("update", "secrets", "a/s", None, Err("can only read resources of this type")),
        ("list", "persistentvolumes", "", None, Err("can only get individual resources of this type")),
        ("get", "persistentvolumes/status", "v", None, Err("cannot get subresource")),
        ("get", "persistentvolumeclaims/status", "a/c", None, Err("can only get/update/patch this type")),
        ("create", "serviceaccounts/token", "a/bot", None, Err(unrelated)),
        (
            "create",
            "serviceaccounts",
            "a/",
            None,
            Err("can only create tokens for individual service accounts"),
        ),
        ("get", "nodes", "one", None, Ok(())),
        ("get", "nodes", "two", None, Err("node 'one' cannot read 'two', only its own Node object")),
        ("list", "nodes", "", None, Err("node 'one' cannot read all nodes, only its own Node object")),
        ("create", "nodes", "", None, Ok(())),
        ("delete", "nodes", "one", None, Err("")),
        ("patch", "nodes/status", "two", None, Ok(())),
        ("list", "pods", "", Some(&mine), Ok(())),
        (
            "list",
            "pods",
            "",
            Some(&others),
            Err("can only list/watch pods with spec.nodeName field selector"),
        ),
        ("create", "pods", "a/", None, Ok(())),
        ("patch", "pods/status", "a/p", None, Ok(())),
        ("patch", "pods", "a/p", None, Err("")),
        ("create", "pods/binding", "a/p", None, Err("")),
        ("update", leases, "kube-node-lease/one", None, Ok(())),
        ("create", leases, "kube-node-lease/", None, Ok(())),
        (
            "update",
            leases,
            "kube-node-lease/two",
            None,
            Err("can only access node lease with the same name as the requesting node"),
        ),
        (
            "get",
            leases,
            "kube-system/one",
            None,
            Err("can only access leases in the \"kube-node-lease\" system namespace"),
        ),
        (
            "list",
            leases,
            "kube-node-lease/",
            None,
            Err("can only get, create, update, patch, or delete a node lease"),
        ),
        (
            "patch",
            "storage.k8s.io:csinodes",
            "two",
            None,
            Err("can only access CSINode with the same name as the requesting node"),
        ),
        ("deletecollection", "resource.k8s.io:resourceslices", "", Some(&mine), Ok(())),
        ("list", "services", "", None, Err("")),
    ] {
        let answer = relations.allow("one", &ask(verb, resource, key, fields), &[]);
        assert_eq!(answer, expected.map_err(str::to_owned).map_err(Message::from), "{verb} {resource} {key}");
    }
}
