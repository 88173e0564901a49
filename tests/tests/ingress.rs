//! Ingresses: two hosts and TLS at one address, a roll-out behind them, and what is wrong with one.

#![allow(missing_docs, clippy::unwrap_used)]

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use e2e::{Cluster, eventually, http_go};

/// A service and its pods, which end at once when they are told to.
fn app(name: &str, replicas: u8) -> String {
    format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers:
      - name: web
        image: http-go:{name}
        ports: [{{name: web, containerPort: 8080}}]
        readinessProbe: {{httpGet: {{port: web}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{app: {name}}}
  ports: [{{name: http, port: 80, targetPort: web}}]
---
"
    )
}

const INGRESS: &str = "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop}
spec:
  tls: [{hosts: [one.test], secretName: one-tls}]
  rules:
  - host: one.test
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: v1, port: {number: 80}}}}
  - host: '*.two.test'
    http:
      paths:
      - {path: /shop, pathType: Prefix, backend: {service: {name: v2, port: {name: http}}}}
";

/// What curl says that a URL of a host at an address answers.
fn curl(address: &str, url: &str, flags: &[&str]) -> Result<String, String> {
    let host = url.split('/').nth(2).unwrap();
    let resolve = ["80", "443"].map(|port| format!("{host}:{port}:{address}"));
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail", "--max-time", "10"]);
    command.args(["--resolve", &resolve[0], "--resolve", &resolve[1]]).args(flags).arg(url);
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn hears(address: &str, url: &str, flags: &[&str], expected: &str) {
    eventually(&format!("{url} answers {expected}"), 30, || match curl(address, url, flags) {
        Ok(page) if page.contains(expected) => Ok(()),
        Err(error) if error.contains(expected) => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[test]
fn hosts_share_an_address_and_roll_outs_go_unnoticed() {
    let cluster = Cluster::up_whole("ingress", 2, &["--without", "dns"]);
    cluster.load(&["v1", "v2"].map(|version| http_go(&format!("http-go:{version}"), version, 0)));
    cluster.apply(&(app("v1", 3) + &app("v2", 1) + INGRESS));
    for name in ["v1", "v2"] {
        cluster.kubectl(&format!("rollout status deployment/{name} --timeout=60s")).ok();
    }
    let address = eventually("the Ingress has an address", 60, || {
        let status = cluster.json("get ingress shop")["status"]["loadBalancer"]["ingress"][0]["ip"].clone();
        status.as_str().map(str::to_owned).ok_or_else(|| "none yet".to_owned())
    });
    hears(&address, "http://one.test/any", &[], "Welcome! v1");
    hears(&address, "http://a.two.test/shop/x", &[], "Welcome! v2");
    hears(&address, "http://a.two.test/other", &[], "404");
    hears(&address, "http://three.test/", &[], "404");

    // A certificate that is not there yet, and then is.
    hears(&address, "https://one.test/", &[], "self-signed certificate");
    eventually("the missing Secret is told", 30, || {
        let events = cluster.kubectl("describe ingress shop").ok();
        let words = "there is no Secret default/one-tls of type kubernetes.io/tls";
        if events.contains(words) { Ok(()) } else { Err(events) }
    });
    let made = machinery::pki::self_signed(&["one.test".to_owned()]).unwrap();
    let [cert, key] = ["tls.crt", "tls.key"].map(|file| cluster.root().join(file).display().to_string());
    std::fs::write(&cert, &made.cert_pem).unwrap();
    std::fs::write(&key, &made.key_pem).unwrap();
    cluster.kubectl(&format!("create secret tls one-tls --cert={cert} --key={key}")).ok();
    hears(&address, "https://one.test/", &["--cacert", &cert], "Welcome! v1");

    // A roll-out, of pods that end at once, under somebody who never stops asking.
    let over = AtomicBool::new(false);
    let answers = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut answers = Vec::new();
            while !over.load(Ordering::Relaxed) {
                answers.push(curl(&address, "http://one.test/", &[]));
            }
            answers
        });
        cluster.kubectl("set image deployment/v1 web=http-go:v2").ok();
        let rolled = cluster.kubectl("rollout status deployment/v1 --timeout=90s");
        hears(&address, "http://one.test/", &[], "Welcome! v2");
        over.store(true, Ordering::Relaxed);
        rolled.ok();
        asking.join().unwrap()
    });
    let failed: Vec<_> = answers.iter().filter(|answer| answer.is_err()).collect();
    assert!(failed.is_empty(), "{} of {} requests failed: {failed:?}", failed.len(), answers.len());
    assert!(
        answers[0].as_ref().unwrap().contains("v1")
            && answers.last().unwrap().as_ref().unwrap().contains("v2")
    );

    // One that wants what the other one has: it is told, and changes nothing.
    let other = INGRESS.replace("name: shop", "name: later").replace("name: v1", "name: v2");
    cluster.apply(&other.replace("secretName: one-tls", "secretName: other-tls"));
    eventually("the conflict is told", 30, || {
        let events = cluster.kubectl("describe ingress later").ok();
        let words = "the path / (Prefix) of one.test is served as the Ingress default/shop says";
        if events.contains(words) { Ok(()) } else { Err(events) }
    });
    hears(&address, "https://one.test/", &["--cacert", &cert], "Welcome! v2");
    let status = cluster.skiff(&["status"]);
    assert!(status.contains("Ingresses answer at http://"), "{status}");
}
