//! Who is asked about which operations, and what they are shown.

use serde_json::{Value, json};

use crate::hook::{CONFIG_MAPS, PODS, both, config_map, configure, message, pod, remove};

#[tokio::test(flavor = "multi_thread")]
async fn a_review_shows_the_whole_operation() {
    let (server, hook) = both().await;
    let mut about = hook.about("/all", "*/*");
    about["rules"][0]["scope"] = "Namespaced".into();
    configure(&server, "validating", "all", &[about]).await;
    let path = format!("{CONFIG_MAPS}?fieldManager=me&dryRun=All&fieldValidation=Strict");
    assert_eq!(server.send("POST", &path, &config_map("c")).await.code, 201);
    let (_, review) = hook.take().pop().unwrap();
    assert_eq!(
        (&review["kind"], &review["apiVersion"]),
        (&json!("AdmissionReview"), &json!("admission.k8s.io/v1"))
    );
    let mut request = review["request"].clone();
    assert_eq!(request["uid"].as_str().unwrap().len(), 36);
    let object = request["object"].take();
    assert_eq!((&object["kind"], &object["data"]), (&json!("ConfigMap"), &json!({"key": "value"})));
    assert!(object["metadata"]["uid"].is_string(), "{object}");
    let kind = json!({"group": "", "version": "v1", "kind": "ConfigMap"});
    let resource = json!({"group": "", "version": "v1", "resource": "configmaps"});
    let expected = json!({
        "uid": request["uid"],
        "kind": kind, "resource": resource, "requestKind": kind, "requestResource": resource,
        "name": "c", "namespace": "default", "operation": "CREATE",
        "userInfo": {"username": "tester", "uid": "1", "groups": ["system:masters", "system:authenticated"]},
        "object": null, "oldObject": null, "dryRun": true,
        "options": {
            "kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "dryRun": ["All"],
            "fieldManager": "me", "fieldValidation": "Strict",
        },
    });
    assert_eq!(request, expected);

    assert_eq!(server.send("POST", CONFIG_MAPS, &config_map("c")).await.code, 201);
    server.send("PATCH", &format!("{CONFIG_MAPS}/c"), &json!({"data": {"key": "new"}})).await;
    let (_, review) = hook.take().pop().unwrap();
    let request = &review["request"];
    let keys = (&request["oldObject"]["data"]["key"], &request["object"]["data"]["key"]);
    assert_eq!((&request["operation"], keys), (&json!("UPDATE"), (&json!("value"), &json!("new"))));

    server
        .send(
            "DELETE",
            CONFIG_MAPS,
            &json!({"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 7}),
        )
        .await;
    let (_, review) = hook.take().pop().unwrap();
    let request = &review["request"];
    assert_eq!((&request["operation"], &request["object"]), (&json!("DELETE"), &Value::Null));
    assert_eq!(request["oldObject"]["data"]["key"], "new");
    assert_eq!(
        (&request["options"]["kind"], &request["options"]["gracePeriodSeconds"]),
        (&json!("DeleteOptions"), &json!(7))
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subresources_connections_and_custom_objects_are_reviewed() {
    let (server, hook) = both().await;
    let definition = json!({
        "metadata": {"name": "cats.hooks.test"},
        "spec": {
            "group": "hooks.test", "scope": "Namespaced", "names": {"kind": "Cat", "plural": "cats"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    });
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    assert_eq!(server.send("POST", definitions, &definition).await.code, 201);
    let cats = "/apis/hooks.test/v1/namespaces/default/cats";
    server.eventually(cats, |answer| answer.code == 200).await;
    let mut about = hook.about("/all", "*/*");
    about["rules"][0]["scope"] = "Namespaced".into();
    configure(&server, "mutating", "all", &[about]).await;
    let (apps, template) = ("/apis/apps/v1/namespaces/default/deployments", pod("p")["spec"].clone());
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": template});
    let deployment = json!({
        "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template},
    });
    let scaler = json!({
        "metadata": {"name": "h"},
        "spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}},
    });
    let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d"}, "spec": {"replicas": 2}});
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
    let cat = json!({"apiVersion": "hooks.test/v1", "kind": "Cat", "metadata": {"name": "tom"}});
    for (method, path, body, expected) in [
        ("POST", PODS.to_owned(), pod("p"), "CREATE pods Pod p"),
        (
            "PATCH",
            format!("{PODS}/p/status"),
            json!({"status": {"phase": "Pending"}}),
            "UPDATE pods/status Pod p",
        ),
        ("GET", format!("{PODS}/p/exec?command=a"), Value::Null, "CONNECT pods/exec PodExecOptions p"),
        ("GET", format!("{PODS}/p/attach"), Value::Null, "CONNECT pods/attach PodAttachOptions p"),
        ("POST", format!("{PODS}/p/eviction"), eviction, "CREATE pods/eviction Eviction p"),
        ("POST", apps.to_owned(), deployment, "CREATE deployments Deployment d"),
        ("PUT", format!("{apps}/d/scale"), scale, "UPDATE deployments/scale Scale d"),
        ("POST", cats.to_owned(), cat, "CREATE cats Cat tom"),
        ("DELETE", cats.to_owned(), Value::Null, "DELETE cats Cat -"),
        (
            "POST",
            "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers".into(),
            scaler,
            "CREATE horizontalpodautoscalers HorizontalPodAutoscaler h",
        ),
    ] {
        hook.take();
        let answer = server.send(method, &path, &body).await;
        let seen: Vec<String> = hook
            .take()
            .iter()
            .map(|(_, review)| {
                let request = &review["request"];
                let text = |value: &Value| value.as_str().map(str::to_owned);
                let sub = text(&request["subResource"]).map(|sub| format!("/{sub}")).unwrap_or_default();
                format!(
                    "{} {}{sub} {} {}",
                    request["operation"].as_str().unwrap(),
                    request["resource"]["resource"].as_str().unwrap(),
                    request["kind"]["kind"].as_str().unwrap(),
                    text(&request["name"]).unwrap_or_else(|| "-".into()),
                )
            })
            .collect();
        assert_eq!(seen, [expected], "{method} {path}: {}", answer.body);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_shown_in_the_version_that_rules_name() {
    let (server, hook) = both().await;
    hook.says("/old", json!({"allowed": true, "patch": [{"op": "add", "path": "/spec/targetCPUUtilizationPercentage", "value": 7}]}));
    let mut old = hook.about("/old", "horizontalpodautoscalers");
    old["rules"][0]["apiVersions"] = json!(["v1"]);
    let mut exact = hook.about("/exact", "horizontalpodautoscalers");
    exact["rules"][0]["apiVersions"] = json!(["v1"]);
    exact["matchPolicy"] = "Exact".into();
    configure(&server, "mutating", "old", &[old, exact]).await;
    let path = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    let scaler = json!({
        "metadata": {"name": "h"},
        "spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}},
    });
    let made = server.send("POST", path, &scaler).await;
    let seen = hook.take();
    assert_eq!(seen.len(), 1, "{}", made.body);
    let request = &seen[0].1["request"];
    assert_eq!(
        (&request["kind"]["version"], &request["requestKind"]["version"]),
        (&json!("v1"), &json!("v2"))
    );
    assert_eq!(request["object"]["apiVersion"], "autoscaling/v1");
    assert_eq!(made.body["apiVersion"], "autoscaling/v2");
    assert_eq!(
        made.body["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 7,
        "{}",
        made.body
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_reviews_are_sent_to_whoever_understands_no_other() {
    let (server, hook) = both().await;
    hook.says(
        "/old",
        json!({"allowed": true, "uid": "", "patch": [{"op": "add", "path": "/data/new", "value": "x"}]}),
    );
    let mut old = hook.about("/old", "configmaps");
    old["admissionReviewVersions"] = json!(["v2", "v1beta1", "v1"]);
    configure(&server, "mutating", "old", &[old]).await;
    let made = server.send("POST", CONFIG_MAPS, &config_map("c")).await;
    assert_eq!(made.body["data"]["new"], "x", "{}", made.body);
    assert_eq!(hook.take()[0].1["apiVersion"], "admission.k8s.io/v1beta1");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_are_told_of_dry_runs() {
    let (server, hook) = both().await;
    let mut traces = hook.about("/traces", "configmaps");
    traces["sideEffects"] = "NoneOnDryRun".into();
    configure(&server, "mutating", "traces", &[traces]).await;
    for (query, is_dry) in [("?dryRun=All", true), ("", false)] {
        let path = format!("{CONFIG_MAPS}{query}");
        assert_eq!(server.send("POST", &path, &config_map("c")).await.code, 201);
        assert_eq!(hook.take()[0].1["request"]["dryRun"], is_dry);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn selectors_and_conditions_decide_who_is_asked() {
    let (server, hook) = both().await;
    let mut elsewhere = hook.about("/elsewhere", "configmaps");
    elsewhere["namespaceSelector"] = json!({"matchLabels": {"kubernetes.io/metadata.name": "other"}});
    let mut here = hook.about("/here", "configmaps");
    here["namespaceSelector"] = json!({"matchLabels": {"kubernetes.io/metadata.name": "default"}});
    let mut labelled = hook.about("/labelled", "configmaps");
    labelled["objectSelector"] = json!({"matchLabels": {"app": "b"}});
    let mut updates = hook.about("/updates", "configmaps");
    updates["rules"][0]["operations"] = json!(["UPDATE"]);
    let condition = |expression: &str| json!([{"name": "c", "expression": expression}]);
    let mut holds = hook.about("/holds", "configmaps");
    holds["matchConditions"] =
        condition("request.userInfo.username == 'tester' && object.data.key == 'value'");
    let mut may = hook.about("/may", "configmaps");
    may["matchConditions"] = condition(
        "authorizer.requestResource.check('update').allowed() && authorizer.group('').resource('pods').namespace('default').check('get').allowed()",
    );
    let mut may_not = hook.about("/may-not", "configmaps");
    may_not["matchConditions"] = condition("!authorizer.path('/healthz').check('get').allowed()");
    let mut fails = hook.about("/fails", "configmaps");
    fails["matchConditions"] = condition("request.operation == 'DELETE'");
    let mut open = hook.about("/open", "configmaps");
    open["matchConditions"] = condition("object.data.none == 'x'");
    open["failurePolicy"] = "Ignore".into();
    let hooks = [elsewhere, here, labelled, updates, holds, may, may_not, fails, open];
    configure(&server, "mutating", "all", &hooks).await;
    let made = server.send("POST", CONFIG_MAPS, &config_map("c")).await;
    assert_eq!(made.code, 201, "{}", made.body);
    assert_eq!(hook.paths(), ["/here", "/holds", "/may"]);
    // The object is selected as it was, or as it becomes.
    server.send("PATCH", &format!("{CONFIG_MAPS}/c"), &json!({"metadata": {"labels": {"app": "b"}}})).await;
    assert_eq!(hook.paths(), ["/here", "/labelled", "/updates", "/holds", "/may"]);
    server.send("PATCH", &format!("{CONFIG_MAPS}/c"), &json!({"metadata": {"labels": {"app": "a"}}})).await;
    assert!(hook.paths().contains(&"/labelled".to_owned()));
    // What a namespace is to be called and labelled counts before it is.
    let mut namespaces = hook.about("/namespaces", "namespaces");
    namespaces["namespaceSelector"] = json!({"matchLabels": {"kubernetes.io/metadata.name": "other"}});
    configure(&server, "mutating", "namespaces", &[namespaces]).await;
    for (name, expected) in [("other", 1), ("third", 0)] {
        let namespace = json!({"metadata": {"name": name}});
        assert_eq!(server.send("POST", "/api/v1/namespaces", &namespace).await.code, 201);
        assert_eq!(hook.paths().len(), expected, "{name}");
    }
    remove(&server, "mutating", "all").await;

    let mut closed = hook.about("/closed", "configmaps");
    closed["matchConditions"] = condition("object.data.none == 'x'");
    configure(&server, "validating", "closed", &[closed]).await;
    let refused = server.send("POST", CONFIG_MAPS, &config_map("d")).await;
    assert_eq!(
        message(&refused),
        (
            403,
            "configmaps \"d\" is forbidden: expression 'object.data.none == 'x'' resulted in error: no such key: none"
        )
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_locked_out_of_what_decides() {
    let (server, hook) = both().await;
    hook.says("/all", json!({"allowed": false}));
    let all = hook.about("/all", "*/*");
    configure(&server, "validating", "all", std::slice::from_ref(&all)).await;
    configure(&server, "mutating", "all", &[all]).await;
    assert_eq!(server.send("POST", CONFIG_MAPS, &config_map("c")).await.code, 400);
    hook.take();
    remove(&server, "mutating", "all").await;
    remove(&server, "validating", "all").await;
    assert_eq!(hook.paths(), [""; 0]);
    assert_eq!(server.send("POST", CONFIG_MAPS, &config_map("c")).await.code, 201);
    server.stop().await;
}
