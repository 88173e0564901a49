use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::*;

fn meta(value: Value) -> ObjectMeta {
    serde_json::from_value(value).unwrap()
}

#[test]
fn owners_take_what_they_select_and_let_go_what_they_do_not() {
    let mine = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "u", "controller": true}]);
    let theirs = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "db", "uid": "v", "controller": true}]);
    let (web, db) = (json!({"app": "web"}), json!({"app": "db"}));
    let gone = json!("2026-01-01T00:00:00Z");
    let cases = [
        (json!({"labels": web, "ownerReferences": mine}), Claim::Keep, Claim::Keep),
        (json!({"labels": db, "ownerReferences": mine}), Claim::Release, Claim::Leave),
        (json!({"labels": web, "ownerReferences": theirs}), Claim::Leave, Claim::Leave),
        (json!({"labels": web}), Claim::Adopt, Claim::Leave),
        (json!({"labels": db}), Claim::Leave, Claim::Leave),
        (json!({"labels": web, "deletionTimestamp": gone}), Claim::Leave, Claim::Leave),
    ];
    let selector = serde_json::from_value(json!({"matchLabels": {"app": "web"}})).unwrap();
    let (stays, goes) = (
        meta(json!({"name": "web", "uid": "u"})),
        meta(json!({"name": "web", "uid": "u", "deletionTimestamp": gone})),
    );
    for (dependent, when_it_stays, when_it_goes) in cases {
        for (owner, expected) in [(&stays, when_it_stays), (&goes, when_it_goes)] {
            let owner = Owner { kind: Kind::of::<Pod>(), meta: owner, selector: &selector };
            assert_eq!(owner.claim(&meta(dependent.clone()), true), expected, "{dependent}");
        }
    }
    let owner = Owner { kind: Kind::of::<Pod>(), meta: &stays, selector: &selector };
    assert_eq!(owner.claim(&meta(json!({"labels": web})), false), Claim::Leave);
    let everything = LabelSelector::default();
    let owner = Owner { kind: Kind::of::<Pod>(), meta: &stays, selector: &everything };
    assert_eq!(owner.claim(&meta(json!({"labels": web})), true), Claim::Leave, "empty selects nothing");
}
