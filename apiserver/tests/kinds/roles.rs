//! Roles and bindings: who may do what, what all clusters have of them, and that nobody grants what he may not do himself.

use std::time::Duration;

use apiserver::args::{Mode, RuntimeConfig};
use serde_json::{Value, json};

use crate::harness::{self, Answer, Server};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";

async fn server() -> Server {
    Server::start_with(|config| config.authorization = vec![Mode::Rbac]).await
}

/// Asks as somebody without the groups of masters.
async fn ask(server: &Server, user: &str, method: &str, path: &str, body: &Value) -> Answer {
    let client = harness::client(server.port, Some(user));
    let bytes = if body.is_null() { Vec::new() } else { serde_json::to_vec(body).unwrap() };
    let media = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    harness::send(&client, method, path, &[("content-type", media)], bytes).await
}

/// Grants, and waits until that counts.
async fn grant(server: &Server, user: &str, namespace: &str, rules: Value) {
    let name = format!("{user}-{}", rules.to_string().len());
    let role = json!({"metadata": {"name": name}, "rules": rules});
    let (path, kind) = match namespace {
        "" => (RBAC.to_owned(), "ClusterRole"),
        _ => (format!("{RBAC}/namespaces/{namespace}"), "Role"),
    };
    let (roles, bindings) = (kind.to_lowercase() + "s", kind.to_lowercase() + "bindings");
    assert_eq!(server.send("POST", &format!("{path}/{roles}"), &role).await.code, 201);
    let binding = json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name},
        "subjects": [{"kind": "User", "name": user}],
    });
    let path = format!("{path}/{bindings}");
    assert_eq!(server.send("POST", &path, &binding).await.code, 201);
    // A read waits for what was written.
    assert_eq!(server.get(&format!("{path}/{name}")).await.code, 200);
}

#[tokio::test]
async fn a_user_without_roles_may_nothing_but_look_around() {
    let server = server().await;
    let who = |path: &str, what: &str| (path.to_owned(), what.to_owned());
    for (path, message) in [
        who(
            "/api/v1/namespaces/y/pods",
            "pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \"\" in the namespace \"y\"",
        ),
        who(
            "/api/v1/namespaces/y/pods/p/log",
            "pods \"p\" is forbidden: User \"jane\" cannot get resource \"pods/log\" in API group \"\" in the namespace \"y\"",
        ),
        who(
            "/apis/apps/v1/deployments?watch=1",
            "deployments.apps is forbidden: User \"jane\" cannot watch resource \"deployments\" in API group \"apps\" at the cluster scope",
        ),
        who("/metrics", "forbidden: User \"jane\" cannot get path \"/metrics\""),
    ] {
        let answer = ask(&server, "jane", "GET", &path, &Value::Null).await;
        assert_eq!((answer.code, answer.body["message"].as_str()), (403, Some(message.as_str())), "{path}");
    }
    for path in ["/version", "/api", "/apis/apps/v1", "/openapi/v2", "/healthz"] {
        assert_eq!(ask(&server, "jane", "GET", path, &Value::Null).await.code, 200, "{path}");
    }
    let nobody = harness::client(server.port, None);
    for (path, code) in [("/version", 200), ("/livez", 200), ("/livez/etcd", 403), ("/api", 403)] {
        assert_eq!(harness::send(&nobody, "GET", path, &[], Vec::new()).await.code, code, "{path}");
    }
    // Masters need no roles.
    assert_eq!(server.get("/api/v1/secrets").await.code, 200);
    server.stop().await;
}

#[tokio::test]
async fn rights_end_at_namespaces_names_and_parts() {
    let server = server().await;
    let rules = json!([
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"], "resourceNames": ["a"]},
        {"apiGroups": ["apps"], "resources": ["*/scale"], "verbs": ["get"]},
    ]);
    grant(&server, "jane", "default", rules).await;
    let maps = "/api/v1/namespaces/default/configmaps";
    for (path, code) in [
        (format!("{maps}/a"), 404),
        (format!("{maps}/b"), 403),
        (maps.to_owned(), 403),
        (format!("{maps}?fieldSelector=metadata.name%3Da"), 200),
        (format!("{maps}?fieldSelector=metadata.name%3Db"), 403),
        (format!("{maps}?fieldSelector=metadata.name!%3Da"), 403),
        ("/api/v1/namespaces/kube-system/configmaps/a".into(), 403),
        ("/apis/apps/v1/namespaces/default/deployments/d/scale".into(), 404),
        ("/apis/apps/v1/namespaces/default/deployments/d".into(), 403),
        ("/apis/apps/v1/namespaces/default/deployments/d/status".into(), 403),
    ] {
        assert_eq!(ask(&server, "jane", "GET", &path, &Value::Null).await.code, code, "{path}");
    }
    let answer = ask(&server, "jane", "POST", REVIEWS, &json!({"spec": {"namespace": "default"}})).await;
    assert_eq!(answer.body["spec"], json!({}));
    let status = &answer.body["status"];
    assert_eq!(status["incomplete"], false);
    let rules = status["resourceRules"].as_array().unwrap();
    assert!(rules.iter().any(|rule| rule["resourceNames"] == json!(["a"])), "{status}");
    assert!(rules.iter().any(|rule| rule["resources"] == json!(["selfsubjectreviews"])), "{status}");
    assert!(
        status["nonResourceRules"].as_array().unwrap().iter().all(|rule| rule.get("resources").is_none())
    );
    // A review says by what.
    let review = json!({"spec": {"user": "jane", "groups": ["system:authenticated"],
        "resourceAttributes": {"verb": "get", "group": "apps", "resource": "x", "subresource": "scale", "namespace": "default"}}});
    let reviews = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let answer = server.send("POST", reviews, &review).await;
    let reason = answer.body["status"]["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("RBAC: allowed by RoleBinding \"jane-") && reason.ends_with("to User \"jane\""),
        "{reason}"
    );
    assert_eq!(ask(&server, "jane", "POST", reviews, &review).await.code, 403);
    server.stop().await;
}

#[tokio::test]
async fn nobody_grants_what_he_may_not_do() {
    let server = server().await;
    let all = json!(["create", "get", "update", "patch", "delete"]);
    let roles = json!([
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"], "verbs": all},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
    ]);
    grant(&server, "jane", "default", roles).await;
    let path = format!("{RBAC}/namespaces/default");
    let role = |name: &str, rules: Value| json!({"metadata": {"name": name}, "rules": rules});
    let reads = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
    let more = json!([{"apiGroups": [""], "resources": ["pods", "secrets"], "verbs": ["get", "list"]}]);
    let made = ask(&server, "jane", "POST", &format!("{path}/roles"), &role("reads", reads)).await;
    assert_eq!(made.code, 201, "{}", made.body);
    let refused = |what: &str| {
        format!(
            "{what} is forbidden: user \"jane\" (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n{{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\" \"list\"]}}"
        )
    };
    let name = "roles.rbac.authorization.k8s.io";
    let answer = ask(&server, "jane", "POST", &format!("{path}/roles"), &role("more", more.clone())).await;
    assert_eq!(
        (answer.code, answer.body["message"].as_str()),
        (403, Some(refused(&format!("{name} \"more\"")).as_str()))
    );
    let answer = ask(&server, "jane", "PATCH", &format!("{path}/roles/reads"), &json!({"rules": more})).await;
    assert_eq!(
        (answer.code, answer.body["message"].as_str()),
        (403, Some(refused(&format!("{name} \"reads\"")).as_str()))
    );
    // What garbage collection does needs no rights of the role.
    server.send("POST", &format!("{path}/roles"), &role("secrets", more.clone())).await;
    for (change, code) in [
        (json!({"metadata": {"finalizers": ["acme.com/x"]}}), 200),
        (json!({"metadata": {"labels": {"a": "b"}}}), 403),
    ] {
        let answer = ask(&server, "jane", "PATCH", &format!("{path}/roles/secrets"), &change).await;
        assert_eq!(answer.code, code, "{change} {}", answer.body);
    }
    let binding = |name: &str, kind: &str, role: &str| {
        json!({
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
            "subjects": [{"kind": "User", "name": "joe"}],
        })
    };
    let bindings = format!("{path}/rolebindings");
    let name = "rolebindings.rbac.authorization.k8s.io";
    for (binding, code, message) in [
        (binding("a", "Role", "reads"), 201, None),
        (binding("b", "Role", "secrets"), 403, Some(refused(&format!("{name} \"b\"")))),
        (
            binding("c", "ClusterRole", "none"),
            404,
            Some("rolebindings.rbac.authorization.k8s.io \"none\" not found".to_owned()),
        ),
    ] {
        let answer = ask(&server, "jane", "POST", &bindings, &binding).await;
        let told = answer.body["message"].as_str().map(str::to_owned);
        assert_eq!((answer.code, told), (code, message), "{}", answer.body);
    }
    // Unless he is told that he may.
    let rules = json!([
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["bind"], "resourceNames": ["secrets"]},
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["escalate"], "resourceNames": ["reads"]},
    ]);
    grant(&server, "jane", "default", rules).await;
    assert_eq!(ask(&server, "jane", "POST", &bindings, &binding("b", "Role", "secrets")).await.code, 201);
    let answer = ask(&server, "jane", "PATCH", &format!("{path}/roles/reads"), &json!({"rules": more})).await;
    assert_eq!(answer.code, 200);
    // Whom one may not be, one may not be taken for.
    let client = harness::client(server.port, Some("jane"));
    let headers = [("impersonate-user", "joe"), ("impersonate-group", "system:masters")];
    let answer = harness::send(&client, "GET", "/api/v1/secrets", &headers, Vec::new()).await;
    assert_eq!(
        answer.body["message"],
        "users \"joe\" is forbidden: User \"jane\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope"
    );
    server.stop().await;
}

#[tokio::test]
async fn aggregated_roles_are_for_those_who_may_do_everything() {
    let server = server().await;
    let cluster_roles =
        json!([{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "verbs": ["*"]}]);
    let escalates = json!([{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "verbs": ["create"]}]);
    grant(&server, "jane", "", escalates).await;
    let role = json!({
        "metadata": {"name": "x"}, "rules": [],
        "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]},
    });
    let path = format!("{RBAC}/clusterroles");
    let answer = ask(&server, "jane", "POST", &path, &role).await;
    assert_eq!(
        (answer.code, answer.body["message"].as_str()),
        (
            403,
            Some(
                "clusterroles.rbac.authorization.k8s.io \"x\" is forbidden: must have cluster-admin privileges to use the aggregationRule"
            )
        )
    );
    grant(&server, "jane", "", cluster_roles).await;
    assert_eq!(ask(&server, "jane", "POST", &path, &role).await.code, 201);
    server.stop().await;
}

#[tokio::test]
async fn what_every_cluster_has_is_made_whole_again_at_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let store = format!("file:{}", dir.path().join("store").display());
    let start = async || {
        Server::start_with(|config| {
            config.authorization = vec![Mode::Rbac];
            config.store = store.parse().unwrap();
        })
        .await
    };
    let server = start().await;
    let ready = server.get("/readyz?verbose").await.body;
    assert!(ready.as_str().unwrap().contains("[+]poststarthook/rbac/bootstrap-roles ok"), "{ready}");
    let role = |name: &str| format!("{RBAC}/clusterroles/{name}");
    let binding = |name: &str| format!("{RBAC}/clusterrolebindings/{name}");
    let patch = |rules: Value| json!({"rules": rules});
    let pods = json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]});
    let before = server.get(&role("system:basic-user")).await.body;
    assert_eq!(server.send("PATCH", &role("system:basic-user"), &patch(json!([pods]))).await.code, 200);
    let off = json!({"metadata": {"annotations": {"rbac.authorization.kubernetes.io/autoupdate": "false"}}, "rules": [pods]});
    assert_eq!(server.send("PATCH", &role("system:discovery"), &off).await.code, 200);
    let joe = json!({"subjects": [{"kind": "User", "name": "joe", "apiGroup": "rbac.authorization.k8s.io"}]});
    assert_eq!(server.send("PATCH", &binding("system:basic-user"), &joe).await.code, 200);
    server.send("DELETE", &role("view"), &Value::Null).await;
    server.send("DELETE", &binding("cluster-admin"), &Value::Null).await;
    let mut other = server.get(&binding("system:monitoring")).await.body;
    server.send("DELETE", &binding("system:monitoring"), &Value::Null).await;
    other["roleRef"]["name"] = json!("cluster-admin");
    other["metadata"] = json!({"name": "system:monitoring"});
    assert_eq!(server.send("POST", &binding(""), &other).await.code, 201);
    server.stop().await;

    let server = start().await;
    let rules = server.get(&role("system:basic-user")).await.body["rules"].take();
    let rules = rules.as_array().unwrap();
    let held: usize = before["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| rule["resources"].as_array().unwrap().len())
        .sum();
    assert_eq!((rules[0].clone(), rules.len()), (pods.clone(), 1 + held));
    assert_eq!(server.get(&role("system:discovery")).await.body["rules"], json!([pods]));
    let subjects = server.get(&binding("system:basic-user")).await.body["subjects"].take();
    let names: Vec<_> = subjects.as_array().unwrap().iter().map(|s| s["name"].clone()).collect();
    assert_eq!(names, ["joe", "system:authenticated"]);
    assert_eq!(server.get(&role("view")).await.code, 200);
    assert_eq!(server.get(&binding("cluster-admin")).await.code, 200);
    assert_eq!(server.get(&binding("system:monitoring")).await.body["roleRef"]["name"], "system:monitoring");
    server.stop().await;
}

#[tokio::test]
async fn whoever_opens_a_stream_into_a_pod_creates() {
    let server = server().await;
    let reads =
        json!([{"apiGroups": [""], "resources": ["pods", "pods/exec", "pods/log"], "verbs": ["get"]}]);
    grant(&server, "jane", "default", reads).await;
    let exec = "/api/v1/namespaces/default/pods/p/exec?command=id";
    let answer = ask(&server, "jane", "GET", exec, &Value::Null).await;
    assert_eq!(
        answer.body["message"],
        "pods \"p\" is forbidden: User \"jane\" cannot create resource \"pods/exec\" in API group \"\" in the namespace \"default\""
    );
    let log = "/api/v1/namespaces/default/pods/p/log";
    assert_eq!(ask(&server, "jane", "GET", log, &Value::Null).await.code, 404);
    // Of what is granted long after, the next request knows.
    grant(&server, "jane", "", json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}])).await;
    let mut patience = Duration::from_secs(5);
    while ask(&server, "jane", "GET", exec, &Value::Null).await.code == 403 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        patience = patience.checked_sub(Duration::from_millis(10)).expect("is granted in time");
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_made_only_by_who_may_create() {
    let server = server().await;
    let maps = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["patch"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["update"]}]);
    grant(&server, "jane", "default", maps).await;
    let path = "/api/v1/namespaces/default/configmaps/fresh?fieldManager=test";
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "fresh"}});
    let lease =
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "fresh"}});
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases/fresh";
    let apply = async || {
        let client = harness::client(server.port, Some("jane"));
        let headers = [("content-type", "application/apply-patch+yaml")];
        harness::send(&client, "PATCH", path, &headers, serde_json::to_vec(&map).unwrap()).await
    };
    let words = |resource: &str, group: &str| {
        format!(
            "User \"jane\" cannot create resource {resource:?} in API group {group:?} in the namespace \"default\""
        )
    };
    for (answer, words) in [
        (apply().await, words("configmaps", "")),
        (ask(&server, "jane", "PUT", leases, &lease).await, words("leases", "coordination.k8s.io")),
    ] {
        assert_eq!(answer.code, 403, "{}", answer.body);
        assert!(answer.body["message"].as_str().unwrap().ends_with(&words), "{}", answer.body);
    }
    let create = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}]);
    grant(&server, "jane", "default", create).await;
    assert_eq!(apply().await.code, 201);
    assert_eq!(apply().await.code, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_signer_s_bundles_are_written_by_who_may_attest_for_it() {
    let on = ["certificates.k8s.io/v1beta1=true".to_owned()];
    let server = Server::start_with(|config| {
        config.authorization = vec![Mode::Rbac];
        config.runtime = RuntimeConfig::read(&on).unwrap();
    })
    .await;
    let path = "/apis/certificates.k8s.io/v1beta1/clustertrustbundles";
    let certificates = |resource: &str, verbs: &[&str]| json!([{"apiGroups": ["certificates.k8s.io"], "resources": [resource], "verbs": verbs}]);
    grant(&server, "jane", "", certificates("clustertrustbundles", &["create", "update"])).await;
    let pem = machinery::pki::Authority::new("ca").unwrap().cert_pem().to_owned();
    let bundle = |name: &str, signer: &str| json!({"metadata": {"name": name}, "spec": {"signerName": signer, "trustBundle": pem}});
    assert_eq!(ask(&server, "jane", "POST", path, &bundle("b", "")).await.code, 201);
    let of_signer = bundle("example.com:s:b", "example.com/s");
    let refused = ask(&server, "jane", "POST", path, &of_signer).await;
    assert_eq!(refused.code, 403);
    let why = "clustertrustbundles.certificates.k8s.io \"example.com:s:b\" is forbidden: user not permitted to attest \
               for signerName \"example.com/s\"";
    assert_eq!(refused.body["message"], why);
    let mut right = certificates("signers", &["attest"]);
    right[0]["resourceNames"] = json!(["example.com/*"]);
    grant(&server, "jane", "", right).await;
    let mut made = ask(&server, "jane", "POST", path, &of_signer).await;
    assert_eq!(made.code, 201, "{}", made.body);
    // Somebody else may still do what garbage collection does.
    grant(&server, "joe", "", certificates("clustertrustbundles", &["update"])).await;
    made.body["metadata"]["finalizers"] = json!(["example.com/f"]);
    let path = format!("{path}/example.com:s:b");
    let kept = ask(&server, "joe", "PUT", &path, &made.body).await;
    assert_eq!(kept.code, 200, "{}", kept.body);
    let mut labelled = kept.body;
    labelled["metadata"]["labels"] = json!({"a": "b"});
    assert_eq!(ask(&server, "joe", "PUT", &path, &labelled).await.code, 403);
    server.stop().await;
}
