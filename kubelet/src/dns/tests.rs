use serde_json::{Value, json};

use super::*;

fn pod(spec: Value) -> Pod {
    let mut spec = spec;
    spec["containers"] = json!([]);
    let pod = json!({"metadata": {"name": "p", "namespace": "d"}, "spec": spec});
    serde_json::from_value(pod).expect("the test's pod is well-formed")
}

#[test]
fn a_pod_on_the_hosts_network_finds_the_hosts_name() {
    for (hosts, expected) in [
        ("", "192.0.2.1\tnode-1\n"),
        ("127.0.0.1 localhost", "127.0.0.1 localhost\n192.0.2.1\tnode-1\n"),
        ("127.0.1.1 node-1.example node-1\n", "127.0.1.1 node-1.example node-1\n"),
        ("# 127.0.1.1 node-1\n::1 node-10\n", "# 127.0.1.1 node-1\n::1 node-10\n192.0.2.1\tnode-1\n"),
    ] {
        assert_eq!(node_hosts(hosts.to_owned(), "node-1", "192.0.2.1"), expected);
    }
}

#[test]
fn a_resolver_is_cut_to_what_resolvers_take() {
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let config = |servers: &[&str], searches: &[&str]| DnsConfig {
        servers: texts(servers),
        searches: texts(searches),
        ..DnsConfig::default()
    };
    let mut small = config(&["1", "2", "3"], &["a", "b"]);
    assert_eq!(fit(&mut small), Vec::<String>::new());
    assert_eq!(small, config(&["1", "2", "3"], &["a", "b"]));

    let long = "x".repeat(254);
    let mut large = config(&["10.96.0.10", "1", "2", "3"], &["a", &long, "b"]);
    let told = [
        "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: \
         10.96.0.10 1 2",
        "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: a b",
    ];
    assert_eq!(fit(&mut large), told);
    assert_eq!(large, config(&["10.96.0.10", "1", "2"], &["a", "b"]));

    let mut many = config(&[], &["a"; 33]);
    assert_eq!((fit(&mut many).len(), many.searches.len()), (1, 32));
    // Eight with their spaces are 2007 bytes, nine 2258.
    let mut wide = config(&[], &[&*"y".repeat(250); 9]);
    assert_eq!((fit(&mut wide).len(), wide.searches.len()), (1, 8));
}

#[test]
fn a_resolver_follows_the_policy_and_what_the_pod_adds() {
    let node = parse("nameserver 192.0.2.53 # ours\nsearch example.\noptions ndots:2 edns0\n");
    let cluster = ["10.96.0.10", "d.svc.cluster.local svc.cluster.local cluster.local example", "ndots:5"];
    let of_node = ["192.0.2.53", "example", "ndots:2 edns0"];
    let own = json!({"nameservers": ["192.0.2.1"], "searches": ["own"],
        "options": [{"name": "ndots", "value": "1"}, {"name": "trust-ad"}]});
    let more =
        json!({"nameservers": ["10.96.0.10", "192.0.2.1"], "options": [{"name": "ndots", "value": "1"}]});
    for (spec, expected) in [
        (json!({}), cluster),
        (json!({"hostNetwork": true}), of_node),
        (json!({"hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"}), cluster),
        (json!({"dnsPolicy": "Default"}), of_node),
        (json!({"dnsPolicy": "None", "dnsConfig": own}), ["192.0.2.1", "own", "ndots:1 trust-ad"]),
        (json!({"dnsConfig": more}), ["10.96.0.10 192.0.2.1", cluster[1], "ndots:1"]),
    ] {
        let found = for_pod(&pod(spec.clone()), &node, &["10.96.0.10".to_owned()], "cluster.local");
        assert_eq!(
            [found.servers, found.searches, found.options].map(|list| list.join(" ")),
            expected,
            "{spec}"
        );
    }
}

#[test]
fn the_file_of_hosts_has_the_pods_own_and_what_it_adds() {
    let plain = hosts_file(&pod(json!({})), &["10.0.0.2".to_owned()], "p", Some("s.d.svc.x"), None);
    assert!(plain.ends_with("\n10.0.0.2\tp.s.d.svc.x\tp\n"), "{plain}");
    let aliases = json!({"hostAliases": [{"ip": "192.0.2.1", "hostnames": ["a", "b"]}, {"ip": "192.0.2.2", "hostnames": ["c"]}]});
    let more = hosts_file(&pod(aliases), &[], "p", None, Some("127.0.0.1\tlocalhost\n"));
    let expected = "# Kubernetes-managed hosts file (host network).\n127.0.0.1\tlocalhost\n\n\
        # Entries added by HostAliases.\n192.0.2.1\ta\tb\n192.0.2.2\tc\n";
    assert_eq!(more, expected);
}
