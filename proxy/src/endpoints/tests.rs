use std::net::Ipv4Addr;

use machinery::netfilter::Protocol;

use super::*;

/// `r` ready, `t` terminating but serving, `d` neither; upper case on this node.
fn port(kinds: &str, internal_local: bool, external_local: bool) -> ServicePort {
    let endpoint = |(n, kind): (usize, char)| Endpoint {
        ip: Ipv4Addr::new(10, 0, 0, n as u8),
        port: 80,
        local: kind.is_ascii_uppercase(),
        ready: kind.eq_ignore_ascii_case(&'r'),
        serving: !kind.eq_ignore_ascii_case(&'d'),
        terminating: kind.eq_ignore_ascii_case(&'t'),
        zone_hints: Vec::new(),
        node_hints: Vec::new(),
    };
    ServicePort {
        namespace: "n".into(),
        service: "s".into(),
        name: "n/s".into(),
        protocol: Protocol::Tcp,
        cluster_ip: Ipv4Addr::new(10, 96, 0, 9),
        port: 80,
        node_port: Some(30000),
        external_ips: vec![],
        load_balancer_ips: vec![],
        source_ranges: vec![],
        affinity: None,
        internal_local,
        external_local,
        health_check_port: None,
        prefers_node: false,
        endpoints: kinds.chars().enumerate().map(endpoint).collect(),
    }
}

fn numbers(of: &[&Endpoint]) -> String {
    of.iter().map(|endpoint| endpoint.ip.octets()[3].to_string()).collect()
}

#[test]
fn readiness_and_policy_decide() {
    let cases = [
        // endpoints, policies local (internal, external) → cluster, local, all, any
        ("", false, false, "", "", "", false),
        ("rR", false, false, "01", "", "01", true),
        ("rtd", false, false, "0", "", "0", true),
        ("td", false, false, "0", "", "0", true),
        ("d", false, false, "", "", "", false),
        ("rR", false, true, "01", "1", "01", true),
        ("rT", false, true, "0", "1", "01", true),
        ("rD", false, true, "0", "", "0", true),
        ("rr", true, true, "01", "", "01", true),
        ("TT", true, true, "01", "01", "01", true),
    ];
    for (kinds, internal, external, cluster, local, all, any) in cases {
        let port = port(kinds, internal, external);
        let choice = choose(&port, "here", None);
        let found = (numbers(&choice.cluster), numbers(&choice.local), numbers(&choice.all));
        assert_eq!(found, (cluster.into(), local.into(), all.into()), "{kinds} {internal} {external}");
        assert_eq!(choice.any, any, "{kinds}");
    }
}

#[test]
fn without_a_way_in_from_outside_a_local_service_knows_this_node_only() {
    let mut port = port("rR", true, false);
    port.node_port = None;
    let choice = choose(&port, "here", None);
    assert_eq!((numbers(&choice.cluster), numbers(&choice.all)), ("".into(), "1".into()));
}

#[test]
fn hints_count_when_all_have_them_and_one_fits() {
    let mut hinted = port("rrr", false, false);
    for (endpoint, zone) in hinted.endpoints.iter_mut().zip(["a", "b", "a"]) {
        endpoint.zone_hints = vec![zone.into()];
    }
    hinted.endpoints[1].node_hints = vec!["here".into()];
    let chosen = |port: &ServicePort, zone| numbers(&choose(port, "here", zone).cluster);
    assert_eq!(chosen(&hinted, Some("a")), "02");
    assert_eq!(chosen(&hinted, Some("c")), "012", "none fits");
    assert_eq!(chosen(&hinted, None), "012", "the node has no zone");
    hinted.prefers_node = true;
    assert_eq!(chosen(&hinted, Some("a")), "02", "not all have hints for nodes");
    for n in [0, 2] {
        hinted.endpoints[n].node_hints = vec!["there".into()];
    }
    assert_eq!(chosen(&hinted, Some("a")), "1");
    hinted.endpoints[0].zone_hints.clear();
    hinted.prefers_node = false;
    assert_eq!(chosen(&hinted, Some("a")), "012", "one has no hint");
}
