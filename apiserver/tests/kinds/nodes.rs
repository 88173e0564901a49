//! What kubelets may read and write.

use apiserver::args::Mode;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair};
use serde_json::{Value, json};

use crate::harness::{self, Answer, Server};

const NODES: &str = "/api/v1/nodes";
const PODS: &str = "/api/v1/namespaces/default/pods";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";

/// A server that knows the kubelet of the node `one`, and that node and another.
async fn server() -> Server {
    let server = Server::start_with(|config| {
        config.authorization = vec![Mode::Node, Mode::Rbac];
        let tokens = config.token_file.as_ref().unwrap();
        let known = std::fs::read_to_string(tokens).unwrap();
        std::fs::write(tokens, format!("{known}\none,system:node:one,9,\"system:nodes\"")).unwrap();
    })
    .await;
    let two = json!({"metadata": {"name": "two"}, "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.2"}]}});
    assert_eq!(server.send("POST", NODES, &two).await.code, 201);
    assert_eq!(ask(&server, "POST", NODES, &node("one", json!({}))).await.code, 201);
    server
}

async fn ask(server: &Server, method: &str, path: &str, body: &Value) -> Answer {
    let client = harness::client(server.port, Some("one"));
    let bytes = if body.is_null() { Vec::new() } else { serde_json::to_vec(body).unwrap() };
    let media = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    harness::send(&client, method, path, &[("content-type", media)], bytes).await
}

fn node(name: &str, spec: Value) -> Value {
    json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}, "spec": spec})
}

fn pod(name: &str, node: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "nodeName": node,
            "containers": [{"name": "c", "image": "x"}],
            "volumes": [{"name": "s", "secret": {"secretName": format!("of-{name}")}}],
        },
    })
}

#[tokio::test]
async fn a_kubelet_reads_what_its_pods_need_and_writes_itself() {
    let server = server().await;
    for (name, node) in [("mine", "one"), ("other", "two")] {
        assert_eq!(server.send("POST", PODS, &pod(name, node)).await.code, 201);
        let secret = json!({"metadata": {"name": format!("of-{name}")}});
        assert_eq!(server.send("POST", "/api/v1/namespaces/default/secrets", &secret).await.code, 201);
    }
    let secrets = "/api/v1/namespaces/default/secrets";
    let lease = |name: &str| json!({"metadata": {"name": name}, "spec": {"holderIdentity": name}});
    let status = |phase: &str| json!({"status": {"phase": phase}});
    let token = json!({"spec": {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "mine"}}});
    let address =
        |address: &str| json!({"status": {"addresses": [{"type": "InternalIP", "address": address}]}});
    let served = json!({"metadata": {"name": "kubernetes"}, "subsets": [{"addresses": [{"ip": "10.60.0.12"}], "ports": [{"name": "https", "port": 6443}]}]});
    let endpoints = "/api/v1/namespaces/default/endpoints";
    assert_eq!(server.send("POST", endpoints, &served).await.code, 201);
    let port = |port: u16| json!({"status": {"daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}});
    let taken = "node \"one\" is not allowed to be reached where an API server is";
    let none = Value::Null;
    for (method, path, body, code, part) in [
        ("GET", format!("{secrets}/of-mine"), none.clone(), 200, ""),
        (
            "GET",
            format!("{secrets}/of-other"),
            none.clone(),
            403,
            "no relationship found between node 'one' and this object",
        ),
        ("GET", secrets.into(), none.clone(), 403, "No Object name found"),
        ("GET", format!("{secrets}?fieldSelector=metadata.name%3Dof-mine"), none.clone(), 200, ""),
        ("GET", format!("{PODS}/mine"), none.clone(), 200, ""),
        ("GET", format!("{PODS}/other"), none.clone(), 403, "no relationship"),
        ("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Done".into(), none.clone(), 200, ""),
        (
            "GET",
            "/api/v1/pods?fieldSelector=spec.nodeName%3Dtwo".into(),
            none.clone(),
            403,
            "spec.nodeName field selector",
        ),
        ("GET", "/api/v1/services".into(), none.clone(), 200, ""),
        ("PATCH", format!("{PODS}/mine/status"), status("Running"), 200, ""),
        (
            "PATCH",
            format!("{PODS}/other/status"),
            status("Running"),
            403,
            "node \"one\" can only update pod status for pods with spec.nodeName set to itself",
        ),
        (
            "PATCH",
            format!("{PODS}/mine/status"),
            json!({"metadata": {"labels": {"a": "b"}}}),
            403,
            "node \"one\" cannot update labels through pod status",
        ),
        (
            "PATCH",
            format!("{PODS}/mine"),
            json!({"metadata": {"labels": {"a": "b"}}}),
            403,
            "cannot patch resource \"pods\"",
        ),
        (
            "POST",
            PODS.into(),
            pod("new", "one"),
            403,
            "pod does not have \"kubernetes.io/config.mirror\" annotation, node \"one\" can only create mirror pods",
        ),
        (
            "DELETE",
            format!("{PODS}/other"),
            none.clone(),
            403,
            "node \"one\" can only delete pods with spec.nodeName set to itself",
        ),
        (
            "POST",
            format!("{PODS}/other/eviction"),
            json!({"metadata": {"name": "other"}}),
            403,
            "node one can only evict pods with spec.nodeName set to itself",
        ),
        ("POST", LEASES.into(), lease("one"), 201, ""),
        (
            "POST",
            LEASES.into(),
            lease("two"),
            403,
            "can only access node lease with the same name as the requesting node",
        ),
        ("PATCH", format!("{LEASES}/one"), json!({"spec": {"leaseDurationSeconds": 40}}), 200, ""),
        ("PATCH", format!("{LEASES}/two"), json!({}), 403, "can only access node lease with the same name"),
        (
            "POST",
            "/api/v1/namespaces/default/serviceaccounts/default/token".into(),
            json!({"spec": {}}),
            403,
            "node requested token not bound to a pod",
        ),
        (
            "POST",
            "/api/v1/namespaces/default/serviceaccounts/default/token".into(),
            token,
            403,
            "node requested token with a pod binding without a uid",
        ),
        (
            "POST",
            NODES.into(),
            node("three", json!({})),
            403,
            "node \"one\" is not allowed to modify node \"three\"",
        ),
        (
            "PATCH",
            format!("{NODES}/two/status"),
            json!({}),
            403,
            "node \"one\" is not allowed to modify node \"two\"",
        ),
        ("PATCH", format!("{NODES}/one/status"), address("10.0.0.1"), 200, ""),
        (
            "PATCH",
            format!("{NODES}/one/status"),
            address("10.0.0.2"),
            403,
            "node \"one\" is not allowed to have the address 10.0.0.2 of node \"two\"",
        ),
        (
            "PATCH",
            format!("{NODES}/one/status"),
            address("::ffff:10.0.0.2"),
            403,
            "node \"one\" is not allowed to have the address 10.0.0.2 of node \"two\"",
        ),
        ("PATCH", format!("{NODES}/one/status"), port(6443), 200, ""),
        ("PATCH", format!("{NODES}/one/status"), address("10.60.0.12"), 403, taken),
        ("PATCH", format!("{NODES}/one/status"), address("::ffff:10.60.0.12"), 403, taken),
        ("PATCH", format!("{NODES}/one/status"), port(10250), 200, ""),
        ("PATCH", format!("{NODES}/one/status"), address("10.60.0.12"), 200, ""),
        ("PATCH", format!("{NODES}/one/status"), port(6443), 403, taken),
        (
            "PATCH",
            format!("{NODES}/one"),
            json!({"spec": {"podCIDR": "10.244.0.0/24"}}),
            403,
            "is not allowed to choose its range of pod addresses",
        ),
        (
            "PATCH",
            format!("{NODES}/one"),
            json!({"spec": {"taints": []}}),
            403,
            "node \"one\" is not allowed to modify taints",
        ),
        (
            "PATCH",
            format!("{NODES}/one"),
            json!({"metadata": {"labels": {"node-restriction.kubernetes.io/x": "y"}}}),
            403,
            "is not allowed to modify labels: node-restriction.kubernetes.io/x",
        ),
        (
            "PATCH",
            format!("{NODES}/one"),
            json!({"metadata": {"labels": {"node-role.kubernetes.io/master": "", "acme.com/x": "y"}}}),
            403,
            "is not allowed to modify labels: node-role.kubernetes.io/master",
        ),
        (
            "PATCH",
            format!("{NODES}/one"),
            json!({"metadata": {"labels": {"topology.kubernetes.io/zone": "z", "x.kubelet.kubernetes.io/y": "z", "acme.com/x": "y"}}}),
            200,
            "",
        ),
        ("DELETE", format!("{NODES}/one"), none.clone(), 403, "cannot delete resource \"nodes\""),
        ("GET", "/api/v1/namespaces".into(), none.clone(), 403, "cannot list resource \"namespaces\""),
    ] {
        let answer = ask(&server, method, &path, &body).await;
        let message = answer.body["message"].as_str().unwrap_or_default();
        assert_eq!(answer.code, code, "{method} {path} {body}: {message}");
        assert!(message.contains(part), "{method} {path} {body}: {message}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_node_shows_the_pods_of_its_own_folder_and_gains_nothing() {
    let server = server().await;
    let uid = ask(&server, "GET", &format!("{NODES}/one"), &Value::Null).await.body["metadata"]["uid"].take();
    let owner = |change: Value| {
        let mut owner =
            json!({"apiVersion": "v1", "kind": "Node", "name": "one", "uid": uid, "controller": true});
        owner.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        owner
    };
    let mirror = |owners: Value, spec: Value| {
        let mut pod = json!({
            "metadata": {"name": "m", "annotations": {"kubernetes.io/config.mirror": "x"}, "ownerReferences": owners},
            "spec": {"nodeName": "one", "containers": [{"name": "c", "image": "x"}]},
        });
        pod["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        pod
    };
    let own = json!([owner(json!({}))]);
    for (pod, part) in [
        (mirror(json!([]), json!({})), "can only create pods with an owner reference set to itself"),
        (
            mirror(json!([owner(json!({"name": "two"}))]), json!({})),
            "can only create pods with an owner reference set to itself",
        ),
        (
            mirror(json!([owner(json!({"controller": false}))]), json!({})),
            "with a controller owner reference set to itself",
        ),
        (
            mirror(json!([owner(json!({"blockOwnerDeletion": true}))]), json!({})),
            "must not set blockOwnerDeletion",
        ),
        (
            mirror(json!([owner(json!({"uid": "other"}))]), json!({})),
            "node one UID mismatch: expected other got",
        ),
        (
            mirror(own.clone(), json!({"nodeName": "two"})),
            "can only create pods with spec.nodeName set to itself",
        ),
        // Asked before NodeRestriction is.
        (
            mirror(own.clone(), json!({"serviceAccountName": "default"})),
            "a mirror pod may not reference service accounts",
        ),
        (
            mirror(own.clone(), json!({"imagePullSecrets": [{"name": "s"}]})),
            "a mirror pod may not reference secrets",
        ),
        (
            mirror(own.clone(), json!({"volumes": [{"name": "m", "configMap": {"name": "m"}}]})),
            "can not create pods that reference configmaps",
        ),
        (
            mirror(
                own.clone(),
                json!({"volumes": [{"name": "c", "persistentVolumeClaim": {"claimName": "c"}}]}),
            ),
            "can not create pods that reference persistentvolumeclaims",
        ),
    ] {
        let answer = ask(&server, "POST", PODS, &pod).await;
        let message = answer.body["message"].as_str().unwrap_or_default();
        assert!(answer.code == 403 && message.contains(part), "{pod}: {message}");
    }
    let made = ask(&server, "POST", PODS, &mirror(own, json!({}))).await;
    assert_eq!(made.code, 201, "{}", made.body);
    let path = format!("{PODS}/m");
    assert_eq!(ask(&server, "DELETE", &path, &json!({"gracePeriodSeconds": 0})).await.code, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_node_asks_for_certificates_in_its_own_name() {
    let server = server().await;
    let text = |name: &str| DnValue::Utf8String(name.to_owned());
    let (own, other) = ("system:node:one", "system:node:two");
    let unreadable = DnValue::BmpString(other.try_into().unwrap());
    // Of several names the last one counts.
    for (at, names, code) in [
        ("a", vec![text(own)], 201),
        ("b", vec![text(other), text(own)], 201),
        ("c", vec![text(own), text(other)], 403),
        ("d", vec![text("system:node:"), text("one")], 403),
        ("e", vec![text(own), unreadable], 403),
        ("f", vec![], 403),
    ] {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        // The same attribute twice.
        let attributes = [DnType::CommonName, DnType::CustomDnType(vec![2, 5, 4, 3])];
        attributes.into_iter().zip(names).for_each(|(name, is)| params.distinguished_name.push(name, is));
        params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
        let pem = params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
        let request = json!({"metadata": {"name": at}, "spec": {
            "request": STANDARD.encode(pem), "signerName": "kubernetes.io/kube-apiserver-client-kubelet",
            "usages": ["digital signature", "client auth"],
        }});
        let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
        let answer = ask(&server, "POST", path, &request).await;
        let message = answer.body["message"].as_str().unwrap_or_default();
        assert_eq!(answer.code, code, "{at}: {message}");
        assert!(
            code == 201 || message.contains("can only create a node CSR with CN=system:node:one"),
            "{message}"
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn a_node_registers_as_no_more_than_it_is() {
    let server = server().await;
    server.send("DELETE", &format!("{NODES}/one"), &Value::Null).await;
    let labelled = |key: &str| json!({"metadata": {"name": "one", "labels": {key: "x"}}});
    let at = json!({"metadata": {"name": "one"}, "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.2"}]}});
    for (node, part) in [
        (
            labelled("node-role.kubernetes.io/control-plane"),
            "is not allowed to set the following labels: node-role.kubernetes.io/control-plane",
        ),
        (
            node("one", json!({"podCIDR": "10.244.0.0/24"})),
            "is not allowed to choose its range of pod addresses",
        ),
        (at, "is not allowed to have the address 10.0.0.2 of node \"two\""),
    ] {
        let answer = ask(&server, "POST", NODES, &node).await;
        let message = answer.body["message"].as_str().unwrap_or_default();
        assert!(answer.code == 403 && message.contains(part), "{node}: {} {message}", answer.code);
    }
    let taints = json!({"taints": [{"key": "a", "effect": "NoSchedule"}]});
    assert_eq!(ask(&server, "POST", NODES, &node("one", taints)).await.code, 201);
    server.stop().await;
}
