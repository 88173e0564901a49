//! What holds for every row of the table.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use api::object::api_version;
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::all;
use crate::kind::{Column, Kind, Part};

fn smallest(kind: &Kind) -> Value {
    json!({"apiVersion": kind.api_version(), "kind": kind.kind, "metadata": {"name": "x"}})
}

/// Everything that discovery and `kubectl get` say about kinds, some lines for each.
#[test]
fn the_table_of_kinds_is_what_it_was() {
    insta::assert_snapshot!(all().iter().map(described).collect::<Vec<_>>().join("\n"));
}

fn described(kind: &Kind) -> String {
    let scope = if kind.namespaced { "namespaced" } else { "of the cluster" };
    let mut lines =
        format!("{} {}, {} {}, {scope}", kind.api_version(), kind.kind, kind.plural, kind.singular);
    let mut line = |name: &str, words: String| {
        if !words.is_empty() {
            lines.push_str(&format!("\n  {name}: {words}"));
        }
    };
    line("short names", kind.short_names.join(" "));
    line("categories", kind.categories.join(" "));
    line("verbs", kind.verbs.join(" "));
    for part in &kind.subresources {
        let carried =
            part.gvk.map(|(group, version, kind)| format!("{} {kind}: ", api_version(group, version)));
        line(&part.name, carried.unwrap_or_default() + &part.verbs.join(" "));
    }
    line("deprecation", kind.deprecation.clone().unwrap_or_default().into_owned());
    let column = |c: &Column| format!("{}{}", c.name, if c.priority > 0 { " (wide)" } else { "" });
    line("columns", kind.columns().iter().map(column).collect::<Vec<_>>().join(", "));
    lines
}

/// As `AllowUnconditionalUpdate` of upstream's strategies says, v1.36.2.
#[test]
fn some_kinds_are_updated_only_by_who_says_which_state_he_knows() {
    let strict: BTreeSet<_> = all()
        .into_iter()
        .filter(|k| !k.facts.updates_unconditionally)
        .map(|k| k.plural.into_owned())
        .collect();
    let strict: Vec<_> = strict.iter().map(String::as_str).collect();
    assert_eq!(
        strict,
        [
            "apiservices",
            "clustertrustbundles",
            "csidrivers",
            "csinodes",
            "csistoragecapacities",
            "customresourcedefinitions",
            "leases",
            "mutatingadmissionpolicies",
            "mutatingadmissionpolicybindings",
            "mutatingwebhookconfigurations",
            "poddisruptionbudgets",
            "runtimeclasses",
            "validatingadmissionpolicies",
            "validatingadmissionpolicybindings",
            "validatingwebhookconfigurations",
            "volumeattachments",
        ]
    );
}

#[test]
fn field_selectors_see_every_field_that_may_be_selected() {
    let cases = [
        (
            ("v1", "Pod"),
            json!({
                "spec": {"nodeName": "n1", "restartPolicy": "Never", "schedulerName": "own", "serviceAccountName": "robot",
                    "hostNetwork": true},
                "status": {"phase": "Running", "podIP": "10.0.0.9", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}],
                    "nominatedNodeName": "n2"},
            }),
            "spec.nodeName=n1 spec.restartPolicy=Never spec.schedulerName=own spec.serviceAccountName=robot \
             spec.hostNetwork=true status.phase=Running status.podIP=10.0.0.1 status.podIPs=10.0.0.1,fd00::1 \
             status.nominatedNodeName=n2",
        ),
        (
            ("v1", "Pod"),
            json!({}),
            "spec.nodeName= spec.restartPolicy= spec.schedulerName= spec.serviceAccountName= spec.hostNetwork=false \
             status.phase= status.podIP= status.podIPs= status.nominatedNodeName=",
        ),
        (("v1", "Node"), json!({"spec": {"unschedulable": true}}), "spec.unschedulable=true"),
        (("v1", "Node"), json!({}), "spec.unschedulable=false"),
        (
            ("v1", "Service"),
            json!({"spec": {"clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"], "type": "NodePort"}}),
            "spec.clusterIP=10.96.0.7 spec.type=NodePort",
        ),
        (("v1", "Secret"), json!({"type": "kubernetes.io/tls"}), "type=kubernetes.io/tls"),
        (("v1", "Namespace"), json!({"status": {"phase": "Terminating"}}), "status.phase=Terminating"),
        (("v1", "ReplicationController"), json!({"status": {"replicas": 3}}), "status.replicas=3"),
        (("v1", "ReplicationController"), json!({}), "status.replicas=0"),
        (
            ("apps/v1", "ReplicaSet"),
            json!({"spec": {"replicas": 5}, "status": {"replicas": 3}}),
            "status.replicas=3",
        ),
        (("apps/v1", "ReplicaSet"), json!({}), "status.replicas=0"),
        (("batch/v1", "Job"), json!({"status": {"succeeded": 2, "failed": 1}}), "status.successful=2"),
        (("batch/v1", "Job"), json!({}), "status.successful=0"),
        (
            ("certificates.k8s.io/v1", "CertificateSigningRequest"),
            json!({"spec": {"signerName": "example.com/s"}}),
            "spec.signerName=example.com/s",
        ),
        (
            ("certificates.k8s.io/v1beta1", "ClusterTrustBundle"),
            json!({"spec": {"signerName": "example.com/s"}}),
            "spec.signerName=example.com/s",
        ),
        (
            ("networking.k8s.io/v1", "IPAddress"),
            json!({"spec": {"parentRef": {"group": "g", "resource": "services", "namespace": "ns", "name": "s"}}}),
            "spec.parentRef.group=g spec.parentRef.resource=services spec.parentRef.namespace=ns spec.parentRef.name=s",
        ),
        (
            ("resource.k8s.io/v1", "ResourceSlice"),
            json!({"spec": {"nodeName": "n", "driver": "gpu.example.com"}}),
            "spec.nodeName=n spec.driver=gpu.example.com",
        ),
        (
            ("v1", "Event"),
            json!({
                "involvedObject": {"kind": "Pod", "namespace": "ns", "name": "p", "uid": "u", "apiVersion": "v1",
                    "resourceVersion": "7", "fieldPath": "spec.containers{c}"},
                "reason": "Pulled", "reportingComponent": "kubelet", "source": {"component": "old"}, "type": "Normal",
            }),
            "involvedObject.kind=Pod involvedObject.namespace=ns involvedObject.name=p involvedObject.uid=u \
             involvedObject.apiVersion=v1 involvedObject.resourceVersion=7 involvedObject.fieldPath=spec.containers{c} \
             reason=Pulled reportingComponent=kubelet source=old type=Normal",
        ),
        (
            ("v1", "Event"),
            json!({"reportingComponent": "kubelet"}),
            "involvedObject.kind= involvedObject.namespace= involvedObject.name= involvedObject.uid= \
             involvedObject.apiVersion= involvedObject.resourceVersion= involvedObject.fieldPath= \
             reason= reportingComponent=kubelet source=kubelet type=",
        ),
        (
            ("events.k8s.io/v1", "Event"),
            json!({
                "regarding": {"kind": "Pod", "namespace": "ns", "name": "p", "uid": "u", "apiVersion": "v1",
                    "resourceVersion": "7", "fieldPath": "f"},
                "reason": "Pulled", "reportingController": "kubelet", "type": "Normal",
            }),
            "regarding.kind=Pod regarding.namespace=ns regarding.name=p regarding.uid=u regarding.apiVersion=v1 \
             regarding.resourceVersion=7 regarding.fieldPath=f reason=Pulled reportingController=kubelet type=Normal",
        ),
    ];
    let kinds = all();
    for ((version, name), object, expected) in &cases {
        let kind = kinds.iter().find(|k| k.api_version() == *version && k.kind == *name).unwrap();
        let stored =
            kinds.iter().find(|k| k.is_stored_form() && k.storage_prefix() == kind.storage_prefix()).unwrap();
        let mut whole = smallest(kind);
        whole.as_object_mut().unwrap().extend(object.as_object().unwrap().clone());
        let seen: BTreeMap<_, _> =
            stored.rules.selectable_fields(&kind.stored_form(whole)).into_iter().collect();
        let expected: Vec<_> = expected.split(' ').map(|pair| pair.split_once('=').unwrap()).collect();
        for (label, value) in &expected {
            let field = kind.stored_field(label).unwrap_or_else(|| panic!("{version} {name} has no {label}"));
            assert_eq!(seen[&field], *value, "{version} {name}: {label}");
        }
        if kind.is_stored_form() {
            assert_eq!(seen.len(), expected.len(), "{version} {name}: {seen:?}");
        }
    }
    for kind in kinds.iter().filter(|k| !k.rules.selectable_fields(&Value::Null).is_empty()) {
        let row = (kind.api_version(), kind.kind.to_string());
        let tried =
            cases.iter().any(|((version, name), ..)| (*version, *name) == (row.0.as_str(), row.1.as_str()));
        assert!(tried, "{row:?} has selectable fields that nothing tries");
    }
}

#[test]
fn rows_have_names_of_their_own() {
    let kinds = all();
    let mut seen = BTreeSet::new();
    for kind in &kinds {
        let row = (kind.group.clone(), kind.version.clone(), kind.plural.clone());
        assert!(seen.insert(row), "{} comes twice", kind.plural);
        assert_eq!(kind.singular, kind.kind.to_lowercase());
        assert_eq!(kind.scale.is_some(), kind.subresource("scale").is_some(), "{}", kind.kind);
    }
    let stored = kinds.iter().filter(|k| k.is_stored_form());
    let mut words: Vec<_> = stored.flat_map(|k| &k.short_names).collect();
    words.sort();
    let count = words.len();
    words.dedup();
    assert_eq!(words.len(), count, "a short name stands for two kinds");
}

#[test]
fn versions_share_one_place_and_lose_nothing() {
    let kinds = all();
    for kind in kinds.iter().filter(|k| !k.is_stored_form()) {
        let stored = kinds.iter().find(|k| k.is_stored_form() && k.storage_prefix() == kind.storage_prefix());
        let stored = stored.unwrap_or_else(|| panic!("nothing stores {}", kind.kind));
        assert_eq!(
            (&kind.plural, kind.namespaced, &kind.short_names, kind.verbs),
            (&stored.plural, stored.namespaced, &stored.short_names, stored.verbs)
        );
        let object = stored.rules.default(smallest(stored)).unwrap();
        let seen = kind.own_form(object.clone());
        assert_eq!(seen["apiVersion"], kind.api_version());
        assert_eq!(kind.rules.default(seen.clone()).unwrap(), seen, "{}", kind.kind);
        assert_eq!(kind.stored_form(seen), object, "{}", kind.kind);
        let known = stored.rules.selectable_fields(&Value::Null);
        for (label, _) in kind.rules.selectable_fields(&Value::Null) {
            let name = kind.stored_field(&label);
            assert!(name.is_none_or(|name| known.iter().any(|(known, _)| *known == name)), "{label}");
        }
    }
}

#[test]
fn every_kind_fills_every_column() {
    for kind in all() {
        let columns = kind.columns();
        let object = kind.rules.default(smallest(&kind)).unwrap();
        for value in [json!({}), object] {
            let cells = kind.cells(&value, Timestamp::UNIX_EPOCH);
            assert_eq!(cells.len(), columns.len(), "{}", kind.kind);
        }
        assert!(columns.iter().any(|c| c.name == "Name"), "{}", kind.kind);
    }
}

#[test]
fn defaulting_twice_changes_nothing() {
    for kind in all() {
        let once = kind.rules.default(smallest(&kind)).unwrap();
        let twice = kind.rules.default(once.clone()).unwrap();
        assert_eq!(once, twice, "{}", kind.kind);
    }
}

#[test]
fn an_object_that_does_not_change_may_be_updated() {
    for kind in all() {
        let mut object = kind.rules.default(smallest(&kind)).unwrap();
        kind.rules.prepare_create(&mut object);
        let wrong = kind.rules.validate(&object).errors.len();
        let mut same = object.clone();
        kind.rules.prepare_update(&mut same, &object, Part::Main);
        let errors = kind.rules.validate_update(&same, &object, Part::Main).errors;
        assert!(errors.len() <= wrong, "{}: {:?}", kind.kind, errors);
        // What was prepared is prepared still.
        assert_eq!(same.get("spec"), object.get("spec"), "{}", kind.kind);
        // Selectable fields are always the same ones.
        let names = |v: &Value| kind.rules.selectable_fields(v).into_iter().map(|f| f.0).collect::<Vec<_>>();
        assert_eq!(names(&object), names(&json!({})), "{}", kind.kind);
    }
}

/// Any JSON, and often with the field names that kinds know.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-zA-Z0-9%/:. -]{0,12}".prop_map(Value::from),
    ];
    let field = prop_oneof![
        Just("spec".to_owned()),
        Just("status".to_owned()),
        Just("template".to_owned()),
        Just("metadata".to_owned()),
        Just("containers".to_owned()),
        Just("ports".to_owned()),
        Just("selector".to_owned()),
        Just("data".to_owned()),
        Just("name".to_owned()),
        Just("rules".to_owned()),
        "[a-z]{1,6}",
    ];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(field.clone(), inner, 0..5)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_object_breaks_the_rules_of_any_kind(value in json_value()) {
        for kind in all() {
            let _ = kind.cells(&value, Timestamp::UNIX_EPOCH);
            let _ = kind.rules.selectable_fields(&value);
            let _ = kind.rules.grace_period(&value, None);
            let mut object = smallest(&kind);
            if let (Some(map), Some(more)) = (object.as_object_mut(), value.as_object()) {
                for (field, content) in more.iter().filter(|(f, _)| *f != "metadata") {
                    map.insert(field.clone(), content.clone());
                }
            }
            let Ok(mut object) = kind.rules.default(object) else { continue };
            kind.rules.prepare_create(&mut object);
            let _ = kind.rules.validate(&object);
            let _ = kind.rules.validate_update(&object, &object, Part::Status);
        }
    }
}
