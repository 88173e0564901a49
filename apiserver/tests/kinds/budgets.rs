//! LimitRanges and ResourceQuotas at the moment of writing.

use serde_json::{Value, json};

use crate::harness::Server;

const NAMESPACE: &str = "/api/v1/namespaces/default";

async fn made(server: &Server, plural: &str, object: Value) -> Value {
    let answer = server.send("POST", &format!("{NAMESPACE}/{plural}"), &object).await;
    assert_eq!(answer.code, 201, "{}", answer.body);
    answer.body
}

/// Makes a quota whose status says so much, as its controller would.
async fn quota(server: &Server, name: &str, spec: Value, used: Value) {
    made(server, "resourcequotas", json!({"metadata": {"name": name}, "spec": spec})).await;
    let status = json!({"status": {"hard": spec["hard"], "used": used}});
    let path = format!("{NAMESPACE}/resourcequotas/{name}");
    assert_eq!(server.send("PATCH", &format!("{path}/status"), &status).await.code, 200);
    server.eventually(&path, |answer| answer.body["status"] == status["status"]).await;
}

async fn used(server: &Server, name: &str) -> Value {
    server.get(&format!("{NAMESPACE}/resourcequotas/{name}")).await.body["status"]["used"].clone()
}

fn pod(name: &str, resources: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i", "resources": resources}]}})
}

#[tokio::test(flavor = "multi_thread")]
async fn limit_ranges_fill_in_and_bound() {
    let server = Server::start().await;
    let wrong = json!({"metadata": {"name": "wrong"}, "spec": {"limits": [{"type": "Container", "min": {"cpu": "2"}, "max": {"cpu": "1"}}]}});
    let refused = server.send("POST", &format!("{NAMESPACE}/limitranges"), &wrong).await;
    assert_eq!(refused.code, 422);
    assert_eq!(
        refused.body["details"]["causes"][0],
        json!({"reason": "FieldValueInvalid", "field": "spec.limits[0].min[cpu]",
            "message": "Invalid value: \"2\": min value 2 is greater than max value 1"})
    );
    let limits = json!([
        {"type": "Container", "max": {"cpu": "1"}, "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "100m"}},
        {"type": "PersistentVolumeClaim", "max": {"storage": "2Gi"}},
    ]);
    made(&server, "limitranges", json!({"metadata": {"name": "r"}, "spec": {"limits": limits}})).await;
    server.get(&format!("{NAMESPACE}/limitranges")).await;

    let filled = made(&server, "pods", pod("p", json!({}))).await;
    assert_eq!(
        filled["spec"]["containers"][0]["resources"],
        json!({"limits": {"cpu": "500m"}, "requests": {"cpu": "100m"}})
    );
    assert_eq!(
        filled["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: cpu request for container c; cpu limit for container c"
    );
    let large = json!({"limits": {"cpu": "2"}});
    let resized = json!({"spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "3"}, "requests": {"cpu": "100m"}}}]}});
    let claim = |size: &str| json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}});
    let refusals = [
        (
            "POST",
            "pods".to_owned(),
            pod("q", large.clone()),
            "pods \"q\" is forbidden: maximum cpu usage per Container is 1, but limit is 2",
        ),
        (
            "POST",
            "pods?dryRun=All".to_owned(),
            pod("q", large),
            "pods \"q\" is forbidden: maximum cpu usage per Container is 1, but limit is 2",
        ),
        (
            "PATCH",
            "pods/p/resize".to_owned(),
            resized,
            "pods \"p\" is forbidden: maximum cpu usage per Container is 1, but limit is 3",
        ),
        (
            "POST",
            "persistentvolumeclaims".to_owned(),
            claim("3Gi"),
            "persistentvolumeclaims \"c\" is forbidden: maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi",
        ),
    ];
    for (method, path, body, words) in refusals {
        let path = format!("{NAMESPACE}/{path}");
        let answer = server.send(method, &path, &body).await;
        assert_eq!((answer.code, answer.body["message"].as_str()), (403, Some(words)), "{path}");
    }
    // What is there already is left alone.
    let labelled = json!({"metadata": {"labels": {"a": "b"}}});
    assert_eq!(server.send("PATCH", &format!("{NAMESPACE}/pods/p"), &labelled).await.code, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_are_charged_with_the_object_or_refuse_it() {
    let server = Server::start().await;
    quota(
        &server,
        "compute",
        json!({"hard": {"pods": "2", "requests.cpu": "1"}}),
        json!({"pods": "0", "requests.cpu": "0"}),
    )
    .await;
    quota(
        &server,
        "counts",
        json!({"hard": {"count/configmaps": "1", "services.nodeports": "1", "count/deployments.apps": "1"}}),
        json!({"count/configmaps": "0", "services.nodeports": "0", "count/deployments.apps": "0"}),
    )
    .await;
    let half = json!({"requests": {"cpu": "500m"}, "limits": {"cpu": "2"}});
    let asks = |name: &str| pod(name, half.clone());
    let refused = async |method: &str, path: &str, body: Value, words: &str| {
        let answer = server.send(method, &format!("{NAMESPACE}/{path}"), &body).await;
        assert_eq!((answer.code, answer.body["message"].as_str()), (403, Some(words)), "{method} {path}");
    };

    refused(
        "POST",
        "pods",
        pod("a", json!({})),
        "pods \"a\" is forbidden: failed quota: compute: must specify requests.cpu for: c",
    )
    .await;
    made(&server, "pods", asks("a")).await;
    assert_eq!(used(&server, "compute").await, json!({"pods": "1", "requests.cpu": "500m"}));
    // Neither what is only tried nor what is there already costs anything.
    for (path, code) in [("pods?dryRun=All", 201), ("pods", 409)] {
        let name = if code == 201 { "b" } else { "a" };
        assert_eq!(server.send("POST", &format!("{NAMESPACE}/{path}"), &asks(name)).await.code, code);
    }
    assert_eq!(used(&server, "compute").await, json!({"pods": "1", "requests.cpu": "500m"}));
    let generated = json!({"metadata": {"generateName": "g-"}, "spec": asks("x")["spec"]});
    made(&server, "pods", generated).await;
    refused("POST", "pods", asks("c"),
        "pods \"c\" is forbidden: exceeded quota: compute, requested: pods=1,requests.cpu=500m, used: pods=2,requests.cpu=1, limited: pods=2,requests.cpu=1").await;
    let more = json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "600m"}, "limits": {"cpu": "2"}}}]}});
    let resize = format!("{NAMESPACE}/pods/a/resize");
    let answer = server.send("PATCH", &resize, &more).await;
    assert_eq!(
        answer.body["message"],
        "pods \"a\" is forbidden: exceeded quota: compute, requested: requests.cpu=100m, used: requests.cpu=1, limited: requests.cpu=1"
    );
    let less = json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "400m"}, "limits": {"cpu": "2"}}}]}});
    assert_eq!(server.send("PATCH", &resize, &less).await.code, 200);

    made(&server, "configmaps", json!({"metadata": {"name": "m"}})).await;
    refused("POST", "configmaps", json!({"metadata": {"name": "n"}}),
        "configmaps \"n\" is forbidden: exceeded quota: counts, requested: count/configmaps=1, used: count/configmaps=1, limited: count/configmaps=1").await;
    assert_eq!(
        server.send("PATCH", &format!("{NAMESPACE}/configmaps/m"), &json!({"data": {"a": "b"}})).await.code,
        200
    );
    let ports =
        |count: u32| (0..count).map(|i| json!({"name": format!("p{i}"), "port": 80 + i})).collect::<Value>();
    made(&server, "services", json!({"metadata": {"name": "s"}, "spec": {"ports": ports(2)}})).await;
    refused("PATCH", "services/s", json!({"spec": {"type": "NodePort"}}),
        "services \"s\" is forbidden: exceeded quota: counts, requested: services.nodeports=2, used: services.nodeports=0, limited: services.nodeports=1").await;
    assert_eq!(
        server
            .send(
                "PATCH",
                &format!("{NAMESPACE}/services/s"),
                &json!({"spec": {"type": "NodePort", "ports": [{"$patch": "replace"}, ports(1)[0]]}})
            )
            .await
            .code,
        200
    );
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": asks("x")["spec"]});
    let deployment = |name: &str| json!({"metadata": {"name": name}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}});
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    assert_eq!(server.send("POST", deployments, &deployment("d")).await.code, 201);
    assert_eq!(server.send("POST", deployments, &deployment("e")).await.code, 403);
    assert_eq!(
        used(&server, "counts").await,
        json!({"count/configmaps": "1", "services.nodeports": "1", "count/deployments.apps": "1"})
    );

    // Before anybody has counted, nobody knows; what goes or does not grow is no matter of quotas.
    made(
        &server,
        "resourcequotas",
        json!({"metadata": {"name": "new"}, "spec": {"hard": {"services": "1"}}}),
    )
    .await;
    let hard = json!({"status": {"hard": {"services": "1"}}});
    let path = format!("{NAMESPACE}/resourcequotas/new");
    assert_eq!(server.send("PATCH", &format!("{path}/status"), &hard).await.code, 200);
    server.get(&path).await;
    refused(
        "POST",
        "services",
        json!({"metadata": {"name": "t"}, "spec": {"ports": ports(1)}}),
        "services \"t\" is forbidden: status unknown for quota: new, resources: services",
    )
    .await;
    assert_eq!(
        server
            .send("PATCH", &format!("{NAMESPACE}/services/s"), &json!({"metadata": {"labels": {"a": "b"}}}))
            .await
            .code,
        200
    );
    assert_eq!(server.send("DELETE", &format!("{NAMESPACE}/services/s"), &Value::Null).await.code, 200);
    server.stop().await;
}
