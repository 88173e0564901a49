//! Services.

use std::collections::HashSet;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use crate::fixture::{ports, rules};
use crate::need_root;
use crate::net::{NODE, Namespace, Net, sh};
use proxy::metrics::Metrics;
use proxy::render::render;
use proxy::sync::Syncer;

pub fn syncer() -> Syncer {
    Syncer::new(rules(), Metrics::new(&mut machinery::metrics::registry()))
}

const TWO: &str = "addressType: IPv4
ports: [{name: '', port: 8080, protocol: TCP}]
endpoints: [{addresses: [10.244.1.2], nodeName: here}, {addresses: [10.244.1.3], nodeName: here}]
service: ";

#[test]
fn services_answer_from_everywhere_and_vanish() {
    need_root!();
    let net = Net::new();
    let yaml = format!(
        "metadata: {{namespace: shop, name: web}}
spec: {{type: NodePort, clusterIP: 10.96.0.20, ports: [{{port: 80, nodePort: 30080}}]}}
---
{TWO}web
---
metadata: {{namespace: shop, name: sticky}}
spec: {{clusterIP: 10.96.0.21, sessionAffinity: ClientIP, ports: [{{port: 80}}]}}
---
{TWO}sticky
---
metadata: {{namespace: shop, name: empty}}
spec: {{type: NodePort, clusterIP: 10.96.0.22, ports: [{{port: 80, nodePort: 30082}}]}}
---
metadata: {{namespace: shop, name: kept}}
spec: {{type: NodePort, clusterIP: 10.96.0.23, externalTrafficPolicy: Local, ports: [{{port: 80, nodePort: 30083}}]}}
---
{TWO}kept"
    );
    let before = net.saved();
    net.node.run_async(async || syncer().sync(&ports(&yaml), None).await).unwrap();

    // What the kernel says it has is what was rendered, letter for letter.
    let saved = net.saved();
    let rendered = render(&ports(&yaml), None, &rules()).text();
    let (saved_rules, rendered_rules): (HashSet<&str>, HashSet<&str>) =
        (saved.lines().collect(), rendered.lines().filter(|line| line.starts_with("-A")).collect());
    let missing: Vec<_> = rendered_rules.difference(&saved_rules).collect();
    assert!(missing.is_empty(), "{missing:#?}");

    let (web, pod_ips) = ([10, 96, 0, 20], ["10.244.1.2", "10.244.1.3"]);
    for (who, from) in [("pod", &net.pods[0]), ("node", &net.node), ("outside", &net.outside)] {
        let survey = from.survey(web, 80);
        assert!(pod_ips.iter().all(|ip| survey.contains_key(*ip)), "spread for {who}: {survey:?}");
    }
    let survey = net.outside.survey(NODE, 30080);
    assert_eq!(survey.len(), 2, "{survey:?}");
    assert_eq!(net.node.survey([127, 0, 0, 1], 30080).len(), 2, "NodePort on 127.0.0.1");

    // Who is seen: pods keep their address, except where a pod reaches itself; others do not.
    for _ in 0..20 {
        let (name, seen) = net.pods[0].ask(web, 80).unwrap();
        let masqueraded = name == "10.244.1.2";
        assert_eq!(seen == Ipv4Addr::new(10, 244, 1, 2), !masqueraded, "{name} saw {seen}");
    }
    assert_ne!(net.outside.ask(NODE, 30080).unwrap().1, Ipv4Addr::new(192, 0, 2, 9));
    assert_eq!(net.outside.ask(NODE, 30083).unwrap().1, Ipv4Addr::new(192, 0, 2, 9), "policy Local");

    assert_eq!(net.pods[0].survey([10, 96, 0, 21], 80).len(), 1, "a sticky client stays");

    for (from, ip, port) in [
        (&net.pods[0], [10, 96, 0, 22], 80),
        (&net.node, [10, 96, 0, 22], 80),
        (&net.outside, [10, 96, 0, 22], 80),
        (&net.outside, NODE, 30082),
    ] {
        let error = from.ask(ip, port).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused, "{} to {ip:?}:{port}", from.0);
    }

    net.node.run_async(async || proxy::cleanup().await).unwrap();
    let after = net.saved();
    assert!(!after.contains("KUBE-"), "{after}");
    let rules_of = |saved: &str| saved.lines().filter(|line| line.starts_with("-A")).count();
    assert_eq!(rules_of(&after), rules_of(&before));
    net.node.run_async(async || proxy::cleanup().await).unwrap();
}

#[test]
fn changes_touch_what_changed_and_survive_a_flush() {
    need_root!();
    let net = Net::new();
    let service = |name: &str, last: u8| {
        format!(
            "metadata: {{namespace: shop, name: {name}}}\nspec: {{clusterIP: 10.96.0.{last}, ports: [{{port: 80}}]}}"
        )
    };
    let both = format!("{}\n---\n{TWO}web\n---\n{}\n---\n{TWO}more", service("web", 20), service("more", 21));
    let one = format!(
        "{}\n---\n{}",
        service("web", 20),
        TWO.replace(", {addresses: [10.244.1.3], nodeName: here}", "") + "web"
    );
    net.node.run_async(async || {
        let mut syncer = syncer();
        syncer.sync(&ports(&both), None).await.unwrap();
        // A rule that someone added to a chain of another service stays: that chain is not touched.
        let chain = proxy::names::cluster("shop/web", machinery::netfilter::Protocol::Tcp);
        sh(&format!("iptables -t nat -A {chain} -m comment --comment mine -j RETURN"));
        syncer.sync(&ports(&both), None).await.unwrap();
        assert!(sh("iptables-save -t nat").contains("mine"), "nothing changed, nothing was called");
        syncer.sync(&ports(&one), None).await.unwrap();
        let saved = sh("iptables-save -t nat");
        assert!(!saved.contains("mine") && !saved.contains("shop/more"), "{saved}");
        assert!(!saved.contains("10.244.1.3"), "{saved}");
    });
    assert_eq!(net.pods[1].survey([10, 96, 0, 20], 80).len(), 1);

    // A proxy that starts again finds the rules of the last one and makes them its own.
    net.node.run_async(async || {
        let mut again = syncer();
        again.sync(&ports(&both), None).await.unwrap();
        assert!(proxy::sync::canary::lives().unwrap());
        sh("iptables -t nat -F && iptables -t nat -X && iptables -F && iptables -X");
        assert!(!proxy::sync::canary::lives().unwrap());
        again.forget();
        again.sync(&ports(&both), None).await.unwrap();
    });
    let jumps = net.saved().lines().filter(|line| line.starts_with("-A PREROUTING")).count();
    assert_eq!(jumps, 1);
    assert_eq!(net.pods[0].survey([10, 96, 0, 21], 80).len(), 2);
}

#[test]
fn udp_clients_follow_their_service() {
    need_root!();
    let net = Net::new();
    let yaml = |ip: &str| {
        format!(
            "metadata: {{namespace: shop, name: dns}}
spec: {{clusterIP: 10.96.0.20, ports: [{{port: 53, protocol: UDP}}]}}
---
addressType: IPv4
service: dns
ports: [{{name: '', port: 8080, protocol: UDP}}]
endpoints: [{{addresses: [{ip}], nodeName: here}}]"
        )
    };
    let client = net.outside.run(|| {
        let client = UdpSocket::bind(("0.0.0.0", 5555)).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        client
    });
    let ask = || {
        let mut buffer = [0; 64];
        client.send_to(b"who", ("10.96.0.20", 53)).unwrap();
        let length = client.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).split(' ').next().unwrap().to_owned()
    };
    net.node.run_async(async || {
        let mut syncer = syncer();
        syncer.sync(&ports(&yaml("10.244.1.2")), None).await.unwrap();
        assert_eq!(ask(), "10.244.1.2");
        // The same client port goes on to the new endpoint, though its connection was tracked.
        syncer.sync(&ports(&yaml("10.244.1.3")), None).await.unwrap();
        assert_eq!(ask(), "10.244.1.3");
    });
}

#[test]
fn counters_come_count_and_go() {
    need_root!();
    let node = Namespace::new("node");
    node.run(|| {
        let mut netfilter = machinery::netfilter::Netfilter::open().unwrap();
        match netfilter.add_counter("proxytest") {
            Ok(()) => {}
            Err(error) => {
                return machinery::testing::skip(&format!("the kernel has no named counters: {error}"));
            }
        }
        netfilter.add_counter("proxytest").unwrap();
        sh("iptables -A OUTPUT -d 127.0.0.1 -p udp -m nfacct --nfacct-name proxytest -j ACCEPT");
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..3 {
            socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
        }
        assert_eq!(netfilter.counter("proxytest").unwrap(), 3);
        sh("iptables -F OUTPUT");
        netfilter.delete_counter("proxytest").unwrap();
        netfilter.delete_counter("proxytest").unwrap();
        assert!(netfilter.counter("proxytest").is_err());
    });
}

#[test]
fn load_balancers_learn_which_nodes_have_endpoints() {
    need_root!();
    let yaml = |endpoints: &str| {
        format!(
            "metadata: {{namespace: shop, name: front}}
spec: {{type: LoadBalancer, clusterIP: 10.96.0.20, externalTrafficPolicy: Local, healthCheckNodePort: 31000,
  ports: [{{port: 80, nodePort: 30080}}]}}
---
addressType: IPv4
service: front
ports: [{{name: '', port: 8080, protocol: TCP}}]
endpoints: [{endpoints}]"
        )
    };
    let here = "{addresses: [10.244.1.2], nodeName: here}";
    let there = "{addresses: [10.244.1.3], nodeName: there}";
    async fn ask() -> std::io::Result<String> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect("127.0.0.1:31000").await?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok(text)
    }
    Namespace::new("node").run_async(async || {
        let tasks = machinery::tasks::Tasks::new();
        let health = proxy::health::Health::new(Duration::from_secs(60));
        let mut services = proxy::health::ServiceHealth::new(health.clone(), tasks.clone());
        health.synced();
        services.update(&ports(&yaml(&format!("{here}, {there}"))));
        let answer = ask().await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"localEndpoints\":1"), "{answer}");
        services.update(&ports(&yaml(there)));
        let answer = ask().await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("\"localEndpoints\":0"), "{answer}");
        services.update(&[]);
        tokio::time::timeout(Duration::from_secs(5), async {
            while ask().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .expect("the port is closed once nobody asks for it");
        tasks.stop_and_join(Duration::from_secs(1)).await.unwrap();
    });
}
