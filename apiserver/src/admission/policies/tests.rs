#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    harness::Server,
    resources::{
        MUTATING_ADMISSION_POLICIES, MUTATING_ADMISSION_POLICY_BINDINGS, VALIDATING_ADMISSION_POLICIES,
        VALIDATING_ADMISSION_POLICY_BINDINGS,
    },
    store::{Committed, Op},
};

#[tokio::test(flavor = "multi_thread")]
async fn what_another_server_wrote_and_nobody_can_read_fails_as_it_says() {
    let mut started = None;
    let start = async |config, tasks| {
        let api = crate::start(config, &tasks).await.unwrap();
        started = Some(Arc::clone(&api));
        api
    };
    let server = Server::start_as(|_| {}, start).await;
    let api = started.unwrap();
    let rule =
        json!({"apiGroups": [""], "apiVersions": ["*"], "operations": ["*"], "resources": ["configmaps"]});
    let good = || json!({"matchConstraints": {"resourceRules": [rule]}});
    let unreadable = |policy: Value| json!({"failurePolicy": policy, "matchConstraints": 7});
    let open = || json!({"failurePolicy": "Ignore", "matchConstraints": {"resourceRules": [rule]}});
    let (bound, unbound) = (json!({"policyName": "p"}), json!({"policyName": "p", "matchResources": 7}));
    let mut made = 0;
    for (sort, policies, bindings) in [
        ("validating", VALIDATING_ADMISSION_POLICIES, VALIDATING_ADMISSION_POLICY_BINDINGS),
        ("mutating", MUTATING_ADMISSION_POLICIES, MUTATING_ADMISSION_POLICY_BINDINGS),
    ] {
        for (policy, binding, is_let_in) in [
            (good(), &bound, true),
            (unreadable(json!("Fail")), &bound, false),
            (unreadable(json!(7)), &bound, false),
            (json!(7), &bound, false),
            (unreadable(json!("Ignore")), &bound, true),
            (good(), &unbound, false),
            (open(), &unbound, true),
        ] {
            let objects = [(policies, &policy), (bindings, binding)].map(|(resource, spec)| {
                let object = json!({"metadata": {"name": "p"}, "spec": spec});
                (format!("{}p", resource.prefix), object.to_string())
            });
            let create = objects.iter().map(|(key, object)| Op::create(key.clone(), object.clone()));
            assert!(matches!(api.store.commit(create.collect()).await, Ok(Committed::Done(_))));
            api.cache.fresh().await.unwrap();
            made += 1;
            let map = json!({"metadata": {"name": format!("m{made}")}});
            let answer = server.send("POST", "/api/v1/namespaces/default/configmaps", &map).await;
            let what = format!("{sort} {policy} {binding}: {}", answer.body);
            assert_eq!(answer.code == 201, is_let_in, "{what}");
            assert!(is_let_in || what.contains("failed to configure"), "{what}");
            for (key, _) in objects {
                // The server writes a policy's status meanwhile.
                while let Some(found) = api.store.get(&key).await.unwrap() {
                    api.store.commit(vec![Op::delete(key.clone(), found.revision)]).await.unwrap();
                }
            }
        }
    }
    server.stop().await;
}
