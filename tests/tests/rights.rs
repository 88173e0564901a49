//! Who may do what, as a person meets it: an account in a pod, a webhook in a pod, daemons that lose their roles.

#![allow(missing_docs, clippy::unwrap_used)]

use std::time::Duration;

use base64::Engine as _;
use e2e::{Cluster, curl, eventually, holds_for, http_go};
use machinery::pki::{Authority, IssueRequest};
use serde_json::{Value, json};

const ACCOUNT: &str = r#"cd /var/run/secrets/kubernetes.io/serviceaccount && exec curl -sS --cacert ca.crt \
  -H "Authorization: Bearer $(cat token)" https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT/api/v1/namespaces/$(cat namespace)/pods"#;

#[test]
fn an_account_in_a_pod_does_what_its_roles_say() {
    let cluster = Cluster::up("account", 1);
    cluster.load(&[curl("curl:e2e")]);
    cluster.kubectl("create serviceaccount robot").ok();
    cluster.apply(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: asks}\nspec:\n  serviceAccountName: robot\n  \
         terminationGracePeriodSeconds: 0\n  containers:\n  - {name: c, image: 'curl:e2e', command: [sleep, '1000']}\n",
    );
    cluster.kubectl("wait --for=condition=Ready pod/asks --timeout=60s").ok();
    let ask = || -> Value {
        let answer = cluster.kubectl_words(&["exec", "asks", "--", "sh", "-c", ACCOUNT]).ok();
        serde_json::from_str(&answer).unwrap()
    };
    let refused = ask();
    let words =
        "pods is forbidden: User \"system:serviceaccount:default:robot\" cannot list resource \"pods\"";
    assert!(refused["code"] == 403 && refused["message"].as_str().unwrap().starts_with(words), "{refused}");

    let can_list = "auth can-i list pods --as=system:serviceaccount:default:robot";
    assert_eq!(cluster.kubectl(can_list).out.trim(), "no");
    cluster.kubectl("create role reader --verb=get,list --resource=pods").ok();
    cluster.kubectl("create rolebinding readers --role=reader --serviceaccount=default:robot").ok();
    eventually("the account may list pods", 10, || {
        let answer = ask();
        if answer["items"][0]["metadata"]["name"] == "asks" { Ok(()) } else { Err(answer.to_string()) }
    });
    assert_eq!(cluster.kubectl(can_list).out.trim(), "yes");

    // A Secret holds a token for whoever lives outside.
    let annotations = json!({"kubernetes.io/service-account.name": "robot"});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": {"name": "robot-token", "annotations": annotations}});
    cluster.apply(&secret.to_string());
    cluster.kubectl("wait --for=jsonpath={.data.token} secret/robot-token --timeout=30s").ok();
    assert!(cluster.kubectl("describe secret robot-token").ok().contains("token:      ey"));
    let token = cluster.kubectl("get secret robot-token --template={{.data.token|base64decode}}").ok();
    let server = cluster.kubectl("config view --minify -o jsonpath={.clusters[0].cluster.server}").ok();
    let outside = format!(
        "--kubeconfig=/dev/null --server={server} --insecure-skip-tls-verify --token={} --namespace=default",
        token.trim()
    );
    assert!(cluster.kubectl(&format!("{outside} get pods")).ok().contains("asks"));
    let refused = cluster.kubectl(&format!("{outside} delete pod asks")).refused();
    assert!(refused.contains("\"system:serviceaccount:default:robot\" cannot delete"), "{refused}");

    // A token does not outlive its account.
    cluster.kubectl("delete serviceaccount robot").ok();
    eventually("the token is good no longer", 30, || match ask() {
        answer if answer["code"] == 401 => Ok(()),
        answer => Err(answer.to_string()),
    });
    cluster.kubectl("wait --for=delete secret/robot-token --timeout=30s").ok();
}

#[test]
fn a_webhook_in_a_pod_is_asked() {
    let cluster = Cluster::up("webhook", 1);
    cluster.load(&[http_go("http-go:v1", "v1", 0)]);
    let authority = Authority::new("hook").unwrap();
    let issued = authority.issue(&IssueRequest::server("hook", &["hook.default.svc"], &[])).unwrap();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": "hook"},
        "stringData": {"tls.crt": issued.cert_pem, "tls.key": issued.key_pem},
    });
    cluster.apply(&secret.to_string());
    cluster.apply(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: hook, labels: {app: hook}}\nspec:\n  \
         terminationGracePeriodSeconds: 0\n  containers:\n  - name: c\n    image: 'http-go:v1'\n    \
         args: [hook, /tls/tls.crt, /tls/tls.key]\n    readinessProbe: {tcpSocket: {port: 8443}, periodSeconds: 1}\n    \
         volumeMounts: [{name: tls, mountPath: /tls}]\n  volumes:\n  - {name: tls, secret: {secretName: hook}}\n",
    );
    cluster.kubectl("create service clusterip hook --tcp=443:8443").ok();
    cluster.kubectl("wait --for=condition=Ready pod/hook --timeout=60s").ok();
    let bundle = base64::engine::general_purpose::STANDARD.encode(authority.cert_pem());
    let hook = json!({
        "name": "hook.e2e.test", "sideEffects": "None", "admissionReviewVersions": ["v1"], "failurePolicy": "Fail",
        "clientConfig": {"service": {"namespace": "default", "name": "hook"}, "caBundle": bundle},
        "rules": [{
            "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE"],
        }],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}},
    });
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "hook"}, "webhooks": [hook],
    });
    cluster.apply(&configuration.to_string());
    let map = |name: &str, wanted: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, labels: {{wanted: '{wanted}'}}}}\n"
        )
    };
    let create = |name: &str, wanted: &str| cluster.kubectl_fed("create -f -", &map(name, wanted));
    let words = "admission webhook \"hook.e2e.test\" denied the request: bad is not wanted";
    eventually("the webhook refuses", 20, || match create("bad", "no") {
        done if done.code == 0 => {
            cluster.kubectl("delete configmap bad").ok();
            Err("it was made".to_owned())
        }
        refused if refused.err.contains(words) => Ok(()),
        refused => Err(refused.err),
    });
    create("good", "yes").ok();

    // It is gone, and nothing is made that it has not seen; once it may fail, it is.
    cluster.kubectl("delete pod hook --now").ok();
    let refused = create("unseen", "yes").refused();
    assert!(refused.contains("failed calling webhook \"hook.e2e.test\""), "{refused}");
    let ignore = r#"[{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}]"#;
    let patch = ["patch", "validatingwebhookconfiguration", "hook", "--type=json", "-p", ignore];
    cluster.kubectl_words(&patch).ok();
    eventually("the webhook may fail", 20, || match create("unseen", "yes") {
        done if done.code == 0 => Ok(()),
        refused => Err(refused.err),
    });
}

#[test]
fn a_daemon_without_its_role_waits_for_it() {
    let cluster = Cluster::up("roles", 1);
    cluster.load(&[http_go("http-go:v1", "v1", 0)]);
    let replicas = |app: &str| -> Vec<Value> { cluster.items(&format!("get pods -l app={app}")) };
    let is_placed = |pod: &Value| pod["spec"]["nodeName"].is_string();
    for (daemon, role, app) in [
        ("scheduler", "system:kube-scheduler", "unplaced"),
        ("controller-manager", "skiff:controller-manager", "unmade"),
    ] {
        let binding = cluster.kubectl(&format!("get clusterrolebinding {role} -o yaml")).ok();
        cluster.kubectl(&format!("delete clusterrolebinding {role}")).ok();
        cluster.kubectl(&format!("create deployment {app} --image=http-go:v1")).ok();
        holds_for(&format!("nothing is done without {role}"), Duration::from_secs(3), || {
            let done = replicas(app).into_iter().find(is_placed);
            done.map_or(Ok(()), |pod| Err(pod["metadata"]["name"].to_string()))
        });
        eventually(&format!("{daemon} says what it may not do"), 20, || {
            let (log, user) = (cluster.skiff(&["logs", daemon]), format!("system:kube-{daemon}"));
            let says = log.lines().any(|line| line.contains("forbidden") && line.contains(&user));
            if says { Ok(()) } else { Err(log) }
        });
        cluster.daemon(daemon);
        cluster.kubectl_fed("create -f -", &binding).ok();
        eventually(&format!("{app} runs"), 90, || match replicas(app).as_slice() {
            [pod] if is_placed(pod) => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }
}
