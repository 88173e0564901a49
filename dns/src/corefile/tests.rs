use std::time::Duration;

use hickory_proto::rr::Name;

use super::parse;
use crate::kubernetes::PodNames;

/// What kubeadm writes.
const KUBEADM: &str = r"
.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . 192.0.2.1 {
       max_concurrent 1000
    }
    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
    loop
    reload
    loadbalance
}
";

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

#[test]
fn kubeadms_corefile_is_understood() {
    let servers = parse(KUBEADM).unwrap();
    let [server] = &*servers else { panic!("one block") };
    assert_eq!((server.zones.as_slice(), server.port), (&[Name::root()][..], 53));
    assert!(server.errors && server.detect_loops && server.loadbalance);
    assert_eq!(server.health.unwrap(), ("0.0.0.0:8080".parse().unwrap(), Duration::from_secs(5)));
    assert_eq!(server.ready.unwrap().port(), 8181);
    assert_eq!(server.metrics.unwrap().port(), 9153);
    assert_eq!(server.reload, Some(Duration::from_secs(30)));
    let kubernetes = server.kubernetes.as_ref().unwrap();
    assert_eq!(kubernetes.primary, name("cluster.local."));
    assert_eq!((kubernetes.pods, kubernetes.ttl), (PodNames::Insecure, 30));
    assert!(kubernetes.fallthrough.covers(&name("1.0.0.10.in-addr.arpa.")));
    assert!(!kubernetes.fallthrough.covers(&name("a.b.svc.cluster.local.")));
    let cache = server.cache.as_ref().unwrap();
    assert_eq!((cache.success.longest, cache.denial.longest), (30, 30));
    assert_eq!(cache.denial.disabled, [name("cluster.local.")]);
    assert_eq!(server.forwards[0].max_concurrent, 1000);
}

#[test]
fn several_blocks_ranges_and_quotation_marks() {
    let text = "example.org, 10.0.0.0/15:1053 {\n log . {\n  class denial\n }\n}\n# stub\ncorp.:1053 {\n  template IN A {\n    answer \"{{ .Name }} 60 IN A 192.0.2.1\"\n }\n}";
    let error = parse(text).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Corefile:1 - Error during parsing: zones of one server block must have one port"
    );
    let servers = parse(&text.replacen("example.org,", "example.org:1053,", 1)).unwrap();
    let zones: Vec<String> = servers[0].zones.iter().map(ToString::to_string).collect();
    assert_eq!(zones, ["example.org.", "0.10.in-addr.arpa.", "1.10.in-addr.arpa."]);
    assert!(servers[0].log[0].1.denial && !servers[0].log[0].1.success);
    assert_eq!(servers[1].templates.len(), 1);
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    for (text, expected) in [
        (
            ".:53 {\n  errors\n  frobnicate\n}",
            "Corefile:3 - Error during parsing: Unknown directive 'frobnicate'",
        ),
        (
            ".:53 {\n  cache {\n    prefetch 10\n  }\n}",
            "Corefile:3 - Error during parsing: unknown property 'prefetch'",
        ),
        (".:53 {\n  errors", "Corefile:1 - Error during parsing: Unexpected end of file: '}' is missing"),
        ("errors", "Corefile:1 - Error during parsing: Unexpected 'errors': expected a server block"),
        ("", "Corefile:1 - Error during parsing: no server block"),
        (
            ".:53 {\n}\n.:53 {\n}",
            "Corefile:1 - Error during parsing: cannot serve dns://.:53 - it is already defined",
        ),
        (
            ".:53 {\n  cache 30\n  forward . 192.0.2.1\n  forward corp 192.0.2.2\n  cache 60\n}",
            "Corefile:5 - Error during parsing: plugin/cache: this plugin can only be used once per Server Block",
        ),
        (
            ".:53 {\n  prometheus node:9153\n}",
            "Corefile:2 - Error during parsing: 'node:9153' is no address with a port",
        ),
        (".:0 {\n}", "Corefile:1 - Error during parsing: invalid port in '.:0'"),
        (".:53 {\n  forward .\n}", "Corefile:2 - Error during parsing: forward needs where to ask"),
        (
            ".:53 {\n  kubernetes cluster.local {\n    ttl 4000\n  }\n}",
            "Corefile:3 - Error during parsing: ttl must be in range [0, 3600]: 4000",
        ),
        (
            ".:53 {\n  kubernetes in-addr.arpa\n}",
            "Corefile:2 - Error during parsing: kubernetes needs a zone that is not a reverse one",
        ),
        ("tls://.:853 {\n}", "Corefile:1 - Error during parsing: tls:// is not supported"),
        (
            ".:53 {\n  rewrite edns0 local set 0xffee x\n}",
            "Corefile:2 - Error during parsing: invalid rule type 'edns0'",
        ),
        (
            ".:53 {\n  template IN A {\n    answer \"{{ .Meta.x }}\"\n  }\n}",
            "Corefile:3 - Error during parsing: '{{ .Meta.x }}' is not supported",
        ),
    ] {
        assert_eq!(parse(text).expect_err(text).to_string(), expected, "{text}");
    }
}

#[test]
fn metrics_are_the_machines_own_unless_the_corefile_says_so() {
    for (said, expected) in [
        ("", "127.0.0.1:9153"),
        ("localhost:9", "127.0.0.1:9"),
        (":9", "0.0.0.0:9"),
        ("192.0.2.1:9", "192.0.2.1:9"),
        ("[::1]:9", "[::1]:9"),
    ] {
        let servers = parse(&format!(".:53 {{\n prometheus {said}\n}}")).unwrap();
        assert_eq!(servers[0].metrics.unwrap().to_string(), expected, "{said}");
    }
}

#[test]
fn lines_add_to_the_hosts_file() {
    let hosts = |text: &str| parse(&format!(".:53 {{\n {text}\n}}")).unwrap().remove(0).hosts.unwrap();
    let plain = hosts("hosts {\n 192.0.2.1 a.corp\n }");
    assert_eq!((plain.file.to_str(), plain.reload.as_secs()), (Some("/etc/hosts"), 5));
    let named = hosts("hosts /hosts corp {\n reload 15s\n 192.0.2.1 a.corp\n }");
    assert_eq!((named.file.to_str(), named.reload.as_secs()), (Some("/hosts"), 15));
    assert_eq!((plain.lines.len(), named.lines.len()), (1, 1));
}
