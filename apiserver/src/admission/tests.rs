#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use api::object::ObjectExt as _;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::*;
use crate::{harness::Server, start_with};

#[test]
fn steps_are_asked_in_upstreams_order() {
    let ours: Vec<&str> = Steps::all().0.iter().map(|(name, _)| *name).collect();
    let ordered: Vec<&str> = PLUGINS.split(' ').filter(|name| ours.contains(name)).collect();
    assert_eq!(ours, ordered);
}

fn chosen(enabled: &[&str], disabled: &[&str]) -> anyhow::Result<Steps> {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Steps::new(&Choice { enabled: names(enabled), disabled: names(disabled) })
}

#[test]
fn flags_say_which_steps_are_asked() {
    let has = |enabled: &[&str], disabled: &[&str], name| {
        chosen(enabled, disabled).unwrap().0.iter().any(|(step, _)| *step == name)
    };
    assert!(has(&[], &[], "ServiceAccount"));
    assert!(!has(&[], &["ServiceAccount", "AlwaysAdmit"], "ServiceAccount"));
    assert!(!has(&[], &[], "DenyServiceExternalIPs"));
    assert!(has(&["DenyServiceExternalIPs", "ResourceQuota"], &[], "DenyServiceExternalIPs"));
    for (enabled, disabled, words) in [
        (&["Nonsense"][..], &[][..], r#"enable-admission-plugins plugin "Nonsense" is unknown"#),
        (&[], &["Nonsense"], r#"disable-admission-plugins plugin "Nonsense" is unknown"#),
        (
            &["Priority"],
            &["Priority"],
            "[Priority] in enable-admission-plugins and disable-admission-plugins overlapped",
        ),
        (&["AlwaysPullImages"], &[], "--enable-admission-plugins: Skiff has no AlwaysPullImages"),
    ] {
        let refusal = chosen(enabled, disabled).map(|_| ()).unwrap_err();
        assert_eq!(refusal.to_string(), words);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn services_get_no_external_addresses_where_that_is_denied() {
    let server =
        Server::start_with(|config| config.admission.enabled = vec!["DenyServiceExternalIPs".into()]).await;
    let path = "/api/v1/namespaces/default/services";
    let service = |name: &str, addresses: &[&str]| json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], "externalIPs": addresses}});
    assert_eq!(server.send("POST", path, &service("plain", &[])).await.code, 201);
    let refusal = server.send("POST", path, &service("outside", &["192.0.2.1"])).await;
    assert_eq!(refusal.code, 403);
    assert_eq!(
        refusal.body["message"],
        r#"services "outside" is forbidden: Use of external IPs is denied by admission control"#
    );
    let widened = json!({"spec": {"externalIPs": ["192.0.2.1"]}});
    assert_eq!(server.send("PATCH", &format!("{path}/plain"), &widened).await.code, 403);
}

#[test]
fn addresses_that_a_service_has_may_stay_and_go() {
    let with = |addresses: &[&str]| json!({"spec": {"externalIPs": addresses}});
    let gains = deny_service_external_ips::gains;
    assert!(!gains(None, Some(&json!({"spec": {}}))));
    assert!(gains(None, Some(&with(&["192.0.2.1"]))));
    assert!(!gains(Some(&with(&["192.0.2.1", "192.0.2.2"])), Some(&with(&["192.0.2.2"]))));
    assert!(gains(Some(&with(&["192.0.2.1"])), Some(&with(&["192.0.2.1", "192.0.2.2"]))));
}

/// A server on which `step` is asked last.
pub async fn server_with(step: impl Step + 'static) -> Server {
    let mut steps = chosen(&[], &[]).unwrap();
    steps.0.push(("Last", Box::new(step)));
    let start = async |config, tasks| start_with(config, steps, &tasks).await.unwrap();
    Server::start_as(|_| {}, start).await
}

/// Notes what it is asked about.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<String>>>);

impl Recorder {
    fn note(&self, stage: &str, operation: &Operation<'_>) {
        let shown = |object: Option<&Value>| {
            let Some(object) = object else { return "nothing".to_owned() };
            let replicas = object.at(&["spec", "replicas"]).filter(|_| object.str_at(&["kind"]) == "Scale");
            format!("{}{}", object.str_at(&["kind"]), replicas.map(|n| format!("({n})")).unwrap_or_default())
        };
        let Operation { ctx, verb, name, old, .. } = operation;
        let subresource = operation.subresource().map(|name| format!("/{name}")).unwrap_or_default();
        let grace = operation.options.and_then(|options| options.grace_period_seconds);
        let grace = grace.map(|seconds| format!(" in {seconds}")).unwrap_or_default();
        let dry = if operation.dry_run { " dry" } else { "" };
        let (old, new) = (shown(*old), shown(operation.new.as_deref()));
        let plural = &ctx.kind.plural;
        self.0
            .lock()
            .push(format!("{stage} {verb:?} {plural}{subresource} {name:?} {old} > {new}{grace}{dry}"));
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock())
    }
}

#[async_trait]
impl Step for Recorder {
    fn handles(&self, operation: &Operation<'_>) -> bool {
        operation.ctx.user.name == "tester"
    }

    async fn mutate(&self, operation: &mut Operation<'_>) -> Result<(), Status> {
        self.note("mutate", operation);
        Ok(())
    }

    async fn validate(&self, operation: &Operation<'_>) -> Result<(), Status> {
        self.note("validate", operation);
        Ok(())
    }
}

fn pod(name: &str) -> Value {
    let container = json!({"name": "c", "image": "i", "resources": {"requests": {"cpu": "2m"}}});
    json!({"metadata": {"name": name}, "spec": {"containers": [container]}})
}

#[tokio::test(flavor = "multi_thread")]
async fn each_operation_is_admitted_once_with_what_upstream_shows_of_it() {
    let recorder = Recorder::default();
    let server = server_with(recorder.clone()).await;
    let node = json!({"metadata": {"name": "n"}});
    let labelled = json!({"metadata": {"labels": {"a": "b"}}});
    let selector = json!({"matchLabels": {"a": "b"}});
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": pod("p")["spec"]});
    let deployment = json!({"metadata": {"name": "d"}, "spec": {"replicas": 1, "selector": selector, "template": template}});
    let mut generated = pod("");
    generated["metadata"] = json!({"generateName": "g-"});
    let applied =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "b"}});
    let scale = |replicas: i64| {
        json!({
            "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d"},
            "spec": {"replicas": replicas},
        })
    };
    let debugger = json!({"spec": {"ephemeralContainers": [{"name": "e", "image": "i"}]}});
    let resized = json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1m"}}}]}});
    let binding = |name: &str| json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": {"name": "n"}});
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "q"}});
    let token = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let access = json!({"spec": {"user": "u", "nonResourceAttributes": {"path": "/", "verb": "get"}}});
    let grace = json!({"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 7});
    let (nothing, ns) = (Value::Null, "/api/v1/namespaces/default");
    let apps = "/apis/apps/v1/namespaces/default";
    let steps: Vec<(&str, String, Value, &str)> = vec![
        ("POST", "/api/v1/nodes".into(), node.clone(), r#"Create nodes "n" nothing > Node"#),
        ("POST", format!("{ns}/pods"), pod("p"), r#"Create pods "p" nothing > Pod"#),
        ("POST", format!("{ns}/pods?dryRun=All"), pod("p2"), r#"Create pods "p2" nothing > Pod dry"#),
        ("POST", format!("{ns}/pods"), generated.clone(), r#"Create pods "" nothing > Pod"#),
        ("PATCH", format!("{ns}/pods/p"), labelled.clone(), r#"Update pods "p" Pod > Pod"#),
        (
            "PATCH",
            format!("{ns}/pods/p?fieldManager=t&dryRun=All"),
            nothing.clone(),
            r#"Update pods "p" Pod > Pod dry"#,
        ),
        ("PATCH", format!("{ns}/pods/p/status"), labelled.clone(), r#"Update pods/status "p" Pod > Pod"#),
        ("PATCH", format!("{ns}/pods/p/resize"), resized.clone(), r#"Update pods/resize "p" Pod > Pod"#),
        (
            "PATCH",
            format!("{ns}/pods/p/ephemeralcontainers"),
            debugger.clone(),
            r#"Update pods/ephemeralcontainers "p" Pod > Pod"#,
        ),
        (
            "POST",
            format!("{ns}/pods/p/binding"),
            binding("p"),
            r#"Create pods/binding "p" nothing > Binding"#,
        ),
        ("POST", format!("{ns}/pods"), pod("q"), r#"Create pods "q" nothing > Pod"#),
        ("POST", format!("{ns}/bindings"), binding("q"), r#"Create bindings "q" nothing > Binding"#),
        (
            "POST",
            format!("{ns}/pods/q/eviction"),
            eviction.clone(),
            r#"Create pods/eviction "q" nothing > Eviction"#,
        ),
        ("DELETE", format!("{ns}/pods/p"), grace.clone(), r#"Delete pods "p" Pod > nothing in 7"#),
        (
            "POST",
            format!("{ns}/serviceaccounts/default/token"),
            token.clone(),
            r#"Create serviceaccounts/token "default" nothing > TokenRequest"#,
        ),
        (
            "POST",
            format!("{apps}/deployments"),
            deployment.clone(),
            r#"Create deployments "d" nothing > Deployment"#,
        ),
        (
            "PUT",
            format!("{apps}/deployments/d/scale"),
            scale(2),
            r#"Update deployments/scale "d" Scale(1) > Scale(2)"#,
        ),
        (
            "PATCH",
            format!("{apps}/deployments/d/scale"),
            scale(3),
            r#"Update deployments/scale "d" Scale(2) > Scale(3)"#,
        ),
        (
            "APPLY",
            format!("{apps}/deployments/d/scale"),
            scale(4),
            r#"Update deployments/scale "d" Scale(3) > Scale(4)"#,
        ),
        (
            "APPLY",
            format!("{ns}/configmaps/c"),
            applied.clone(),
            r#"Create configmaps "c" nothing > ConfigMap"#,
        ),
        (
            "APPLY",
            format!("{ns}/configmaps/c"),
            labelled.clone(),
            r#"Update configmaps "c" ConfigMap > ConfigMap"#,
        ),
        (
            "DELETE",
            format!("{apps}/deployments"),
            nothing.clone(),
            r#"Delete deployments "" Deployment > nothing"#,
        ),
        (
            "POST",
            "/apis/authorization.k8s.io/v1/subjectaccessreviews".into(),
            access.clone(),
            r#"Create subjectaccessreviews "" nothing > SubjectAccessReview"#,
        ),
        (
            "GET",
            format!("{ns}/pods/p/exec?command=a"),
            nothing.clone(),
            r#"Connect pods/exec "p" nothing > PodExecOptions"#,
        ),
        (
            "POST",
            format!("{ns}/pods/p/attach"),
            nothing.clone(),
            r#"Connect pods/attach "p" nothing > PodAttachOptions"#,
        ),
        (
            "GET",
            format!("{ns}/pods/p/portforward?ports=1"),
            nothing.clone(),
            r#"Connect pods/portforward "p" nothing > PodPortForwardOptions"#,
        ),
        (
            "PUT",
            format!("{ns}/pods/p/proxy/a"),
            nothing.clone(),
            r#"Connect pods/proxy "p" nothing > PodProxyOptions"#,
        ),
        (
            "GET",
            format!("{ns}/services/s/proxy/"),
            nothing.clone(),
            r#"Connect services/proxy "s" nothing > ServiceProxyOptions"#,
        ),
        (
            "DELETE",
            "/api/v1/nodes/n/proxy/".into(),
            nothing.clone(),
            r#"Connect nodes/proxy "n" nothing > NodeProxyOptions"#,
        ),
        ("GET", format!("{ns}/pods/p/log"), nothing.clone(), ""),
        ("GET", format!("{ns}/pods/p"), nothing.clone(), ""),
    ];
    let mut wrong = Vec::new();
    for (method, path, body, expected) in steps {
        // What is read is fresh, and so is then what a change starts from.
        server.get(&format!("{ns}/pods")).await;
        recorder.take();
        let answer = match method {
            "APPLY" => {
                let mut body = body.clone();
                if body["kind"].is_null() {
                    body["apiVersion"] = applied["apiVersion"].clone();
                    body["kind"] = applied["kind"].clone();
                    body["metadata"]["name"] = applied["metadata"]["name"].clone();
                }
                let headers = [("content-type", "application/apply-patch+yaml")];
                let path = format!("{path}?fieldManager=applier&force=true");
                server.send_raw("PATCH", &path, &headers, body.to_string().into()).await
            }
            "PATCH" if body.is_null() => {
                server.send("PATCH", &path, &json!({"metadata": {"labels": {"c": "d"}}})).await
            }
            _ => server.send(method, &path, &body).await,
        };
        let wanted: Vec<String> = match expected {
            "" => Vec::new(),
            line => ["mutate", "validate"].iter().map(|stage| format!("{stage} {line}")).collect(),
        };
        let seen = recorder.take();
        if seen != wanted {
            wrong.push(format!("{method} {path}: {seen:#?} {} {}", answer.code, answer.body));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rules_refuse_is_not_validated_any_further() {
    let recorder = Recorder::default();
    let server = server_with(recorder.clone()).await;
    let path = "/api/v1/namespaces/default/configmaps";
    for (method, path, body) in [
        ("POST", path.to_owned(), json!({"metadata": {"name": "c"}, "data": {"no key": ""}})),
        ("POST", path.to_owned(), json!({"metadata": {"name": "c"}})),
        ("PATCH", format!("{path}/c"), json!({"data": {"no key": ""}})),
    ] {
        recorder.take();
        let answer = server.send(method, &path, &body).await;
        let stages: Vec<String> = recorder.take().iter().map(|line| line[..6].to_owned()).collect();
        let expected: &[&str] = if answer.code == 422 { &["mutate"] } else { &["mutate", "valida"] };
        assert_eq!(stages, expected, "{method} {path} {}", answer.body);
        assert_eq!(answer.code == 422, body["data"].is_object());
    }
    server.stop().await;
}

/// Warns of everything, shows what the object has by then, and refuses what is called so.
struct Talkative;

#[async_trait]
impl Step for Talkative {
    fn handles(&self, operation: &Operation<'_>) -> bool {
        operation.ctx.user.name == "tester"
    }

    async fn mutate(&self, operation: &mut Operation<'_>) -> Result<(), Status> {
        let uid = operation.new.as_deref().map_or("", |new| new.uid());
        operation.ctx.warnings.add([format!("mutating {uid:?}")]);
        if operation.verb == Verb::Connect { Err(operation.forbidden("no streams")) } else { Ok(()) }
    }

    async fn validate(&self, operation: &Operation<'_>) -> Result<(), Status> {
        let shown = operation.new.as_deref().or(operation.old);
        let address = shown.is_some_and(|object| !object.str_at(&["spec", "clusterIP"]).is_empty());
        let uid = shown.is_some_and(|object| !object.uid().is_empty());
        operation.ctx.warnings.add([format!("uid {uid}, address {address}"), "twice".into(), "twice".into()]);
        if operation.name == "refused" { Err(operation.forbidden("of its name")) } else { Ok(()) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_see_the_final_object_and_warn_whatever_comes_of_it() {
    let server = server_with(Talkative).await;
    let path = "/api/v1/namespaces/default/services";
    let heard = [r#"299 - "mutating \"\"""#, r#"299 - "uid true, address true""#, r#"299 - "twice""#];
    for (name, code) in [("kept", 201), ("refused", 403)] {
        let service = json!({"metadata": {"name": name, "uid": "mine"}, "spec": {"ports": [{"port": 80}]}});
        let answer = server.send("POST", path, &service).await;
        assert_eq!(
            (answer.code, &answer.warnings[..]),
            (code, &heard.map(str::to_owned)[..]),
            "{}",
            answer.body
        );
    }
    let refused = server.send("DELETE", &format!("{path}/kept"), &Value::Null).await;
    assert_eq!(
        (refused.code, &refused.warnings[1..]),
        (200, &heard[1..].iter().map(|w| w.to_string()).collect::<Vec<_>>()[..])
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_admitted_before_anything_is_looked_for() {
    let server = server_with(Talkative).await;
    for path in ["pods/none/exec", "pods/none/portforward", "pods/none/proxy/", "services/none/proxy/"] {
        let answer = server.get(&format!("/api/v1/namespaces/default/{path}")).await;
        assert_eq!(answer.code, 403, "{path}: {}", answer.body);
        assert!(answer.body["message"].as_str().unwrap().ends_with(r#" "none" is forbidden: no streams"#));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_grow_when_they_are_bound_and_their_class_lets_them() {
    let server = server_with(Recorder::default()).await;
    let claims = "/api/v1/namespaces/default/persistentvolumeclaims";
    for (name, grows) in [("soft", json!(true)), ("hard", json!(false)), ("silent", Value::Null)] {
        let class = json!({"metadata": {"name": name}, "provisioner": "p", "allowVolumeExpansion": grows});
        assert_eq!(server.send("POST", "/apis/storage.k8s.io/v1/storageclasses", &class).await.code, 201);
    }
    // The step looks at the cache, which a read waits for.
    server.get("/apis/storage.k8s.io/v1/storageclasses").await;
    let fixed = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";
    let cases = [
        ("soft", None),
        ("hard", Some(fixed)),
        ("silent", Some(fixed)),
        ("missing", Some(fixed)),
        ("", Some(fixed)),
    ];
    for (number, (class, refusal)) in cases.into_iter().enumerate() {
        let name = format!("c{number}");
        let requests = json!({"requests": {"storage": "1Gi"}});
        let spec =
            json!({"storageClassName": class, "accessModes": ["ReadWriteOnce"], "resources": requests});
        let claim = json!({"metadata": {"name": name}, "spec": spec});
        assert_eq!(server.send("POST", claims, &claim).await.code, 201);
        let path = format!("{claims}/{name}");
        let status = json!({"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}});
        assert_eq!(server.send("PATCH", &format!("{path}/status"), &status).await.code, 200);
        let larger = json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}});
        let answer = server.send("PATCH", &path, &larger).await;
        let said = answer.body["message"].as_str().map(str::to_owned);
        let refusal = refusal.map(|why| format!("persistentvolumeclaims {name:?} is forbidden: {why}"));
        assert_eq!(said, refusal, "{class}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_labelled_with_the_place_of_their_node() {
    let server = Server::start().await;
    let pods = "/api/v1/namespaces/default/pods";
    let labels =
        json!({"topology.kubernetes.io/zone": "z", "topology.kubernetes.io/region": "r", "other": "x"});
    let node = json!({"metadata": {"name": "n", "labels": labels}});
    assert_eq!(server.send("POST", "/api/v1/nodes", &node).await.code, 201);
    server.get("/api/v1/nodes").await;
    let expected =
        json!({"app": "a", "topology.kubernetes.io/zone": "z", "topology.kubernetes.io/region": "r"});
    let mut made = pod("there");
    made["metadata"]["labels"] = json!({"app": "a", "topology.kubernetes.io/zone": "elsewhere"});
    made["spec"]["nodeName"] = "n".into();
    assert_eq!(server.send("POST", pods, &made).await.body["metadata"]["labels"], expected);
    let mut bound = pod("bound");
    bound["metadata"]["labels"] = json!({"app": "a"});
    assert_eq!(server.send("POST", pods, &bound).await.body["metadata"]["labels"], json!({"app": "a"}));
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "bound"}, "target": {"kind": "Node", "name": "n"}});
    assert_eq!(server.send("POST", &format!("{pods}/bound/binding"), &binding).await.code, 201);
    assert_eq!(server.get(&format!("{pods}/bound")).await.body["metadata"]["labels"], expected);
    // Nobody waits for a node that is not known.
    let mut lost = pod("lost");
    lost["spec"]["nodeName"] = "none".into();
    assert_eq!(server.send("POST", pods, &lost).await.code, 201);
    server.stop().await;
}
