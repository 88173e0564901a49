//! What the proxy takes until the kernel's rules are those of many services and policies, in a network namespace of
//! its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::serde::de::DeserializeOwned;
use proxy::metrics::Metrics;
use proxy::policies::{self, Writer};
use proxy::render::Rules;
use proxy::services::{Snapshot, resolve};
use proxy::sync::Syncer;
use serde_json::{Value, json};

use crate::report;

/// A service with two endpoints behind it.
fn add_service(snapshot: &mut Snapshot, n: usize) {
    let (high, low) = (n / 250, n % 250 + 1);
    let name = format!("service-{n}");
    let metadata =
        json!({"namespace": "bench", "name": name, "labels": {"kubernetes.io/service-name": name}});
    let spec = json!({"clusterIP": format!("10.96.{high}.{low}"), "ports": [{"port": 80}]});
    let endpoints = [1, 2].map(|node| json!({"addresses": [format!("10.{node}.{high}.{low}")]}));
    snapshot.services.push(object(json!({"metadata": metadata, "spec": spec})));
    snapshot.slices.push(object(json!({
        "metadata": metadata, "addressType": "IPv4", "endpoints": endpoints, "ports": [{"name": "", "port": 8080}],
    })));
}

fn object<T: DeserializeOwned>(value: Value) -> Arc<T> {
    Arc::new(serde_json::from_value(value).expect("an object of its kind"))
}

async fn services(count: usize) {
    let mut snapshot = Snapshot::default();
    (0..count).for_each(|n| add_service(&mut snapshot, n));
    let rules = Rules {
        node: "here".into(),
        node_ip: None,
        cluster_cidr: "10.0.0.0/8".parse().ok(),
        masquerade_all: false,
        counters: false,
        liberal_tcp: false,
    };
    let mut syncer = Syncer::new(rules, Metrics::new(&mut machinery::metrics::registry()));
    let (mut first, mut restart, mut one) = (Vec::new(), Vec::new(), Vec::new());
    let sync = async |snapshot: &Snapshot, syncer: &mut Syncer, times: &mut Vec<Duration>| {
        let began = Instant::now();
        syncer.sync(&resolve(snapshot, "here"), None).await.expect("rules can be written");
        times.push(began.elapsed());
    };
    sync(&snapshot, &mut syncer, &mut first).await;
    for n in 0..5 {
        add_service(&mut snapshot, count + n);
        sync(&snapshot, &mut syncer, &mut one).await;
    }
    syncer.forget();
    sync(&snapshot, &mut syncer, &mut restart).await;
    report(&format!("rules for {count} services, where there are none"), first);
    report(&format!("rules for {count} services, after a restart"), restart);
    report(&format!("one more service at {count}"), one);
}

/// Each namespace has twenty pods, one of them on the node, and ten policies about that one.
async fn policies(count: usize) {
    let mut snapshot = policies::Snapshot { node: "here".into(), ..policies::Snapshot::default() };
    let pods = count * 2;
    for n in 0..pods {
        let node = if n % 20 == 0 { "here" } else { "there" };
        snapshot.pods.push(object(json!({
            "metadata": {"namespace": format!("space-{}", n / 20), "name": format!("pod-{n}"), "labels": {"n": (n % 20).to_string()}},
            "spec": {"nodeName": node, "containers": []},
            "status": {"podIPs": [{"ip": format!("10.1.{}.{}", n / 250, n % 250 + 1)}]},
        })));
    }
    let policies = |label: &str, port: u16| {
        let policy = |n: usize| {
            let peers = json!([{"podSelector": {"matchLabels": {"n": (n % 10).to_string()}}}, {"namespaceSelector": {}, "podSelector": {"matchLabels": {"n": label}}}]);
            object(json!({
                "metadata": {"namespace": format!("space-{}", n / 10), "name": format!("policy-{n}")},
                "spec": {"podSelector": {"matchLabels": {"n": "0"}}, "policyTypes": ["Ingress", "Egress"],
                    "ingress": [{"from": peers, "ports": [{"port": port}]}], "egress": [{"to": peers}]},
            }))
        };
        (0..count).map(policy).collect()
    };
    let mut writer = Writer::default();
    for (what, label, port) in [("new", "1", 80), ("changed", "2", 81)] {
        snapshot.policies = policies(label, port);
        let began = Instant::now();
        let table = policies::plan(&snapshot);
        let planned = began.elapsed();
        writer.write(table).await.expect("policies can be written");
        report(&format!("{count} {what} policies, planned"), vec![planned]);
        report(&format!("{count} {what} policies in effect"), vec![began.elapsed()]);
    }
    snapshot.pods.pop();
    let began = Instant::now();
    writer.write(policies::plan(&snapshot)).await.expect("policies can be written");
    report(&format!("a pod less at {count} policies"), vec![began.elapsed()]);
}

/// Measures services and policies.
pub fn measure() {
    let measured = std::thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("root may have a network namespace");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            services(1000).await;
            policies(1000).await;
            services(5000).await;
            policies(1000).await;
        });
    });
    measured.join().expect("what was measured works");
}
