#![allow(clippy::unwrap_used)]

use super::*;
use crate::{admission::tests::server_with, resources::CONFIG_MAPS};

/// Asks the webhook of the object's name whether it is about the object.
struct Asked(HashMap<&'static str, Hook>);

#[async_trait]
impl Step for Asked {
    fn handles(&self, operation: &Operation<'_>) -> bool {
        operation.creates(CONFIG_MAPS) && self.0.contains_key(operation.name)
    }

    async fn validate(&self, operation: &Operation<'_>) -> Result<(), Status> {
        self.0[operation.name].wanted(operation).await.map(|row| assert!(row.is_none(), "nothing wants it"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_put_to_use_fails_as_it_says() {
    let hook = |policy: &str, field: &str, wrong: Value| {
        let rule = json!({"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["configmaps"]});
        let mut hook = json!({"name": "h", "failurePolicy": policy, "rules": [rule],
            "admissionReviewVersions": ["v1"], "clientConfig": {}, "sideEffects": "None"});
        hook[field] = wrong;
        Hook::of("c", &hook)
    };
    let selector = || json!({"matchExpressions": [{"key": "a", "operator": "Nonsense"}]});
    let condition = || json!([{"name": "c", "expression": "("}]);
    let hooks = [
        ("unreadable", hook("Fail", "rules", json!(7)), 403),
        ("unreadable-open", hook("Ignore", "rules", json!(7)), 201),
        ("selector", hook("Fail", "objectSelector", selector()), 403),
        ("selector-open", hook("Ignore", "objectSelector", selector()), 201),
        ("condition", hook("Fail", "matchConditions", condition()), 403),
        ("condition-open", hook("Ignore", "matchConditions", condition()), 201),
        ("nothing", Hook::of("c", &Value::Null), 403),
    ];
    let expected: Vec<(&str, u16)> = hooks.iter().map(|(name, _, code)| (*name, *code)).collect();
    let server = server_with(Asked(hooks.into_iter().map(|(name, hook, _)| (name, hook)).collect())).await;
    for (name, code) in expected {
        let map = json!({"metadata": {"name": name}});
        let answer = server.send("POST", "/api/v1/namespaces/default/configmaps", &map).await;
        assert_eq!(answer.code, code, "{name}: {}", answer.body);
    }
    server.stop().await;
}
