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
