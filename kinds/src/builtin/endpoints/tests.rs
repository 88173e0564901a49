use serde_json::json;

use super::*;

#[test]
fn every_port_of_every_address_counts() {
    let ep = |subsets| addresses(&json!({"subsets": subsets}));
    assert_eq!(ep(json!([])), "<none>");
    assert_eq!(ep(json!([{"addresses": [{"ip": "10.0.0.1"}]}])), "10.0.0.1");
    assert_eq!(
        ep(
            json!([{"addresses": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}], "ports": [{"port": 1}, {"port": 2}]}])
        ),
        "10.0.0.1:1,[fd00::1]:1,10.0.0.1:2 + 1 more..."
    );
}
