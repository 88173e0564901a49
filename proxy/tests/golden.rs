//! The rules for a small shop, as text: what a change of `render` does shows in the difference.

mod fixture;

use fixture::{ports, rules};
use proxy::render::{Rules, render};
use proxy::ruleset::Ruleset;

const SHOP: &str = r#"
metadata: {namespace: shop, name: web}
spec: {type: NodePort, clusterIP: 10.96.0.20, ports: [{name: http, port: 80, nodePort: 30080}]}
---
service: web
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}]
endpoints:
- {addresses: [10.244.1.5], nodeName: here}
- {addresses: [10.244.2.5], nodeName: there, conditions: {ready: true}}
- {addresses: [10.244.2.6], nodeName: there, conditions: {ready: true}}
- {addresses: [10.244.2.7], nodeName: there, conditions: {ready: false}}
---
metadata: {namespace: shop, name: empty}
spec: {clusterIP: 10.96.0.21, externalIPs: [192.0.2.77], ports: [{port: 80}]}
---
metadata: {namespace: shop, name: cart}
spec: {clusterIP: 10.96.0.22, sessionAffinity: ClientIP, ports: [{port: 53, protocol: UDP}]}
---
service: cart
addressType: IPv4
ports: [{name: "", port: 5353, protocol: UDP}]
endpoints: [{addresses: [10.244.2.9], nodeName: there}]
---
metadata: {namespace: shop, name: front}
spec: {type: LoadBalancer, clusterIP: 10.96.0.23, externalTrafficPolicy: Local, healthCheckNodePort: 31000,
  loadBalancerSourceRanges: [192.0.2.0/24], ports: [{port: 443, nodePort: 30443}]}
status: {loadBalancer: {ingress: [{ip: 203.0.113.9}]}}
---
service: front
addressType: IPv4
ports: [{name: "", port: 443, protocol: TCP}]
endpoints: [{addresses: [10.244.2.10], nodeName: there}]
---
metadata: {namespace: shop, name: near}
spec: {clusterIP: 10.96.0.24, internalTrafficPolicy: Local, ports: [{port: 80}]}
---
service: near
addressType: IPv4
ports: [{name: "", port: 80, protocol: TCP}]
endpoints: [{addresses: [10.244.2.11], nodeName: there}]
---
metadata: {namespace: shop, name: headless}
spec: {clusterIP: None, ports: [{port: 80}]}
---
metadata: {namespace: shop, name: other, labels: {service.kubernetes.io/service-proxy-name: mesh}}
spec: {clusterIP: 10.96.0.25, ports: [{port: 80}]}
"#;

#[test]
fn the_rules_of_a_shop() {
    insta::assert_snapshot!(render(&ports(SHOP), None, &rules()).text());
}

/// The chains of `more` that are not in the shop's rules or differ from them.
fn difference(more: &Rules) -> String {
    let usual = render(&ports(SHOP), None, &rules());
    render(&ports(SHOP), None, more).update_from(&usual).expect("rules differ")
}

#[test]
fn masquerading_everything_needs_no_range() {
    let changed = difference(&Rules { masquerade_all: true, ..rules() });
    let rule = "-A KUBE-SVC-67NZLRHBNDSAWJRO -d 10.96.0.20/32 -p tcp -m comment --comment \
                \"shop/web:http cluster IP\" -m tcp --dport 80 -j KUBE-MARK-MASQ";
    assert!(changed.contains(rule), "{changed}");
    assert!(!changed.contains("! -s 10.244.0.0/16"), "{changed}");
}

#[test]
fn the_order_of_objects_changes_nothing() {
    let mut documents: Vec<&str> = SHOP.trim().split("\n---\n").collect();
    let usual: Ruleset = render(&ports(&documents.join("\n---\n")), None, &rules());
    documents.reverse();
    let reversed = render(&ports(&documents.join("\n---\n")), None, &rules());
    assert_eq!(reversed.update_from(&usual), None);
}
