//! Who goes, who stays and who is set free.

#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::graph::{Graph, Object, Uid};
use super::plan::{Decision, decide};
use crate::frame::{Action, Kind};

/// An object called as its uid, with owners written `name` or `name!` when they block.
fn object(name: &str, owners: &[&str], extra: &Value) -> Object {
    let owners: Vec<Value> = owners
        .iter()
        .map(|owner| {
            let (name, blocks) = owner.strip_suffix('!').map_or((*owner, false), |name| (name, true));
            json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": name, "blockOwnerDeletion": blocks})
        })
        .collect();
    let mut meta = json!({"name": name, "namespace": "d", "uid": name, "resourceVersion": "3", "ownerReferences": owners});
    for (key, value) in extra.as_object().unwrap() {
        meta[key] = value.clone();
    }
    let kind = Kind {
        group: String::new(),
        version: "v1".to_owned(),
        plural: "configmaps".to_owned(),
        kind: "ConfigMap".to_owned(),
    };
    let meta: ObjectMeta = serde_json::from_value(meta).unwrap();
    Object::from_metadata(Arc::new(kind), &meta).unwrap()
}

fn graph(objects: Vec<Object>) -> Graph {
    let mut graph = Graph::default();
    for object in objects {
        graph.upsert(object);
    }
    graph
}

fn told(graph: &Graph, of: &str, gone: &[&str]) -> Vec<String> {
    let decision = decide(graph, graph.get(of).unwrap(), |uid| gone.contains(&&**uid), &HashSet::new());
    match decision {
        Decision::Ask(owners) => owners.iter().map(|owner| format!("ask {}", owner.name)).collect(),
        Decision::Act(plan, next) => {
            let actions = plan.actions.iter().map(|action| match action {
                Action::Delete { name, propagation, .. } => {
                    format!("delete {name} {:?}", propagation.unwrap())
                }
                Action::Patch { name, body, .. } => {
                    let meta = &body["metadata"];
                    if meta["finalizers"].is_array() {
                        format!("{name} finalizers {}", meta["finalizers"])
                    } else {
                        let owners = meta["ownerReferences"].as_array().unwrap();
                        let names: Vec<&str> =
                            owners.iter().map(|owner| owner["name"].as_str().unwrap()).collect();
                        format!("{name} owners {names:?}")
                    }
                }
                Action::Tell { reason, message, .. } => format!("{reason}: {message}"),
                other => panic!("{other:?}"),
            });
            actions.chain(next.iter().map(|uid| format!("look at {uid}"))).collect()
        }
    }
}

#[test]
fn fates() {
    let plain = json!({});
    let foreground =
        json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["foregroundDeletion"]});
    let orphan = json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["orphan", "own"]});
    let elsewhere = json!({"namespace": "other"});
    let owner = |extra| object("owner", &[], extra);
    type Case<'a> = (&'a str, Vec<Object>, &'a str, Vec<&'a str>, Vec<&'a str>);
    let cases: Vec<Case> = vec![
        ("owner lives", vec![owner(&plain), object("a", &["owner"], &plain)], "a", vec![], vec![]),
        ("owner unknown", vec![object("a", &["owner"], &plain)], "a", vec![], vec!["ask owner"]),
        (
            "owner gone",
            vec![object("a", &["owner"], &plain)],
            "a",
            vec!["owner"],
            vec!["delete a Background"],
        ),
        (
            "one of two owners gone",
            vec![owner(&plain), object("a", &["owner", "past"], &plain)],
            "a",
            vec!["past"],
            vec!["a owners [\"owner\"]"],
        ),
        (
            "an owner in another namespace is none",
            vec![owner(&elsewhere), object("a", &["owner"], &plain)],
            "a",
            vec!["owner"],
            vec![
                "OwnerRefInvalidNamespace: ownerRef [v1/ConfigMap, namespace: d, name: owner, uid: owner] does not exist in namespace \"d\"",
                "delete a Background",
            ],
        ),
        (
            "foreground: blocking dependents first",
            vec![owner(&foreground), object("a", &["owner!"], &plain)],
            "owner",
            vec![],
            vec!["look at a"],
        ),
        (
            "foreground: the dependent goes",
            vec![owner(&foreground), object("a", &["owner!"], &plain)],
            "a",
            vec![],
            vec!["delete a Background"],
        ),
        (
            "foreground: a dependent with dependents goes the same way",
            vec![owner(&foreground), object("a", &["owner!"], &plain), object("b", &["a!"], &plain)],
            "a",
            vec![],
            vec!["delete a Foreground"],
        ),
        (
            "foreground: a circle is opened",
            vec![object("owner", &["a!"], &foreground), object("a", &["owner!"], &plain)],
            "a",
            vec![],
            vec!["a owners [\"owner\"]", "look at a"],
        ),
        (
            "foreground: and then goes as others do",
            vec![object("owner", &["a!"], &foreground), object("a", &["owner"], &plain)],
            "a",
            vec![],
            vec!["delete a Foreground"],
        ),
        (
            "foreground: nothing blocks any more",
            vec![owner(&foreground), object("a", &["owner"], &plain)],
            "owner",
            vec![],
            vec!["owner finalizers []"],
        ),
        (
            "orphan: dependents are set free, then the finalizer goes",
            vec![owner(&orphan), object("a", &["owner", "other"], &plain), object("b", &["owner"], &plain)],
            "owner",
            vec![],
            vec!["a owners [\"other\"]", "b owners []", "owner finalizers [\"own\"]"],
        ),
    ];
    for (case, objects, of, gone, expected) in cases {
        assert_eq!(told(&graph(objects), of, &gone), expected, "{case}");
    }
}

#[test]
fn the_graph_says_what_to_look_at() {
    let mut graph = graph(vec![object("owner", &[], &json!({})), object("a", &["owner!"], &json!({}))]);
    let foreground =
        json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["foregroundDeletion"]});
    let names =
        |look: std::collections::BTreeSet<Uid>| look.iter().map(|uid| uid.to_string()).collect::<Vec<_>>();
    assert_eq!(names(graph.upsert(object("owner", &[], &foreground))), ["owner"]);
    assert_eq!(names(graph.upsert(object("b", &["owner!"], &json!({})))), ["b", "owner"]);
    assert_eq!(names(graph.remove("a")), ["owner"]);
    assert_eq!(names(graph.remove("owner")), ["b"]);
    assert_eq!(graph.dependents("owner").len(), 1);
    graph.upsert(object("b", &[], &json!({})));
    assert!(graph.dependents("owner").is_empty(), "references that are gone are forgotten");
}
