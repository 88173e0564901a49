use super::*;

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
