use serde_json::{Value, json};

use super::*;

fn plan(secret: Value, account: Option<Value>) -> Plan {
    let secret = Arc::new(serde_json::from_value(secret).unwrap());
    let account = account.map(|account| Arc::new(serde_json::from_value(account).unwrap()));
    super::plan(&Snapshot { secret, account }, Some("authority"), &|claims| Ok(claims.sub.clone()))
}

fn secret(data: Value) -> Value {
    let annotations = json!({NAME: "robot"});
    let metadata = json!({"namespace": "ns", "name": "robots", "uid": "s", "resourceVersion": "5", "annotations": annotations});
    json!({"metadata": metadata, "type": api::account_token::TYPE, "data": data})
}

#[test]
fn a_secret_gets_what_it_lacks() {
    let account = json!({"metadata": {"namespace": "ns", "name": "robot", "uid": "a"}});
    let plan = |data: Value| plan(secret(data), Some(account.clone())).actions;

    let first = plan(json!({}));
    let [Action::Patch { body, subresource: None, .. }] = first.as_slice() else { panic!("{first:?}") };
    assert_eq!(body["metadata"]["annotations"], json!({UID: "a"}));
    assert_eq!(body["metadata"]["resourceVersion"], "5");
    assert_eq!(body["data"]["ca.crt"], "YXV0aG9yaXR5");
    assert_eq!(body["data"]["namespace"], "bnM=");
    let token = &body["data"]["token"];
    assert_eq!(token, "c3lzdGVtOnNlcnZpY2VhY2NvdW50Om5zOnJvYm90");

    let full = json!({"ca.crt": "YXV0aG9yaXR5", "namespace": "bnM=", "token": token});
    assert_eq!(plan(full.clone()), [], "nothing is to do");
    // What a user has put there stays; authority and emptiness do not.
    let mut other = full;
    other["namespace"] = json!("b3RoZXI=");
    other["token"] = json!("bWluZQ==");
    assert_eq!(plan(other.clone()), []);
    other["ca.crt"] = json!("b2xk");
    other["token"] = json!("");
    let mended = plan(other);
    let [Action::Patch { body, .. }] = mended.as_slice() else { panic!("{mended:?}") };
    assert_eq!(body["data"], json!({"ca.crt": "YXV0aG9yaXR5", "token": token}));
}

#[test]
fn an_account_that_is_not_there_is_looked_for_once_more() {
    let plan = plan(secret(json!({})), None);
    let accounts = Action::CatchUp { kind: Kind::of::<ServiceAccount>(), namespace: "ns".to_owned() };
    assert_eq!(plan.actions, [accounts]);
}
