//! The controller beside a real API server: it serves what is there, and tells where and what is wrong.

#![allow(missing_docs, clippy::unwrap_used)]

use clap::Parser as _;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::Ingress;
use kube::Api;
use kube::api::{Patch, PatchParams};
use lab::Lab;
use machinery::tasks::Tasks;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn ingress(name: &str) -> Value {
    let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": name}, "spec": {
        "ingressClassName": "skiff", "tls": [{"hosts": ["a.test"], "secretName": "tls"}],
        "rules": [{"host": format!("{name}.test"), "http": {"paths": [
            {"path": "/", "pathType": "Prefix", "backend": backend}]}}]}})
}

async fn has_address(lab: &Lab, name: &str, expected: &str) {
    lab.until(async || {
        let status = lab.api::<Ingress>().get(name).await.unwrap().status.unwrap_or_default();
        let told = status.load_balancer.and_then(|told| told.ingress?.into_iter().next()?.ip);
        if told.as_deref() == Some(expected) { Ok(()) } else { Err(format!("{told:?}")) }
    })
    .await;
}

#[tokio::test]
async fn ingresses_are_served_and_told_about() {
    let lab = Lab::bare().await;
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "ingress", "namespace": "kube-system"},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}});
    lab.create(service).await;
    lab.create(
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "skiff"},
        "spec": {"controller": ingress::routes::CONTROLLER}}),
    )
    .await;
    lab.create(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"ports": [{"port": 80}]}}))
        .await;
    // Of another type than the one that is looked for.
    lab.create(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tls"}})).await;
    lab.create(ingress("one")).await;

    let tasks = Tasks::new();
    let flags = ["ingress", "--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--health", "127.0.0.1:0"];
    let args = ingress::args::Args::parse_from(flags);
    let (http, _) = ingress::start(&args, lab.new_client().await, &tasks).await.unwrap().unwrap();
    let code = async |host: &str| {
        let mut stream = tokio::net::TcpStream::connect(http).await.unwrap();
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer[9..12].to_owned()
    };
    assert_eq!([code("one.test").await, code("two.test").await], ["503", "404"]);
    let services: Api<Service> = Api::namespaced(lab.client.clone(), "kube-system");
    let address = services.get("ingress").await.unwrap().spec.unwrap().cluster_ip.unwrap();
    has_address(&lab, "one", &address).await;
    lab.until(async || {
        let told = lab.events("SecretNotFound").await;
        let expected = "there is no Secret default/tls of type kubernetes.io/tls";
        if told == [expected] { Ok(()) } else { Err(format!("{told:?}")) }
    })
    .await;
    let balanced = json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}]}}});
    services.patch_status("ingress", &PatchParams::default(), &Patch::Merge(&balanced)).await.unwrap();
    has_address(&lab, "one", "192.0.2.9").await;

    // Another one leads for a while: this one goes on serving, and comes back to its duties.
    let leases: Api<Lease> = Api::namespaced(lab.client.clone(), "kube-system");
    let other = json!({"spec": {"holderIdentity": "other", "leaseDurationSeconds": 4}});
    leases.patch("ingress", &PatchParams::default(), &Patch::Merge(&other)).await.unwrap();
    lab.until(async || {
        assert_eq!(code("one.test").await, "503");
        let holder = leases.get("ingress").await.unwrap().spec.unwrap().holder_identity;
        if holder.as_deref() == Some("other") { Err("the other one leads".to_owned()) } else { Ok(()) }
    })
    .await;
    lab.create(ingress("two")).await;
    has_address(&lab, "two", "192.0.2.9").await;
    assert_eq!(code("two.test").await, "503");
    tasks.stop_and_join(std::time::Duration::from_secs(10)).await.unwrap();
}
