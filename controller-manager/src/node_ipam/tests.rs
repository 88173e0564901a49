use super::*;
use serde_json::json;

fn node(cidr: Option<&str>) -> Arc<Node> {
    let node =
        json!({"metadata": {"name": "n", "uid": "u", "resourceVersion": "7"}, "spec": {"podCIDR": cidr}});
    Arc::new(serde_json::from_value(node).unwrap())
}

fn given(taken: &[&str], prefix: u8) -> Option<String> {
    let taken = taken.iter().map(|cidr| cidr.parse().unwrap()).collect();
    let snapshot = Snapshot { node: node(None), taken, cluster: "10.244.0.0/16".parse().unwrap(), prefix };
    plan(&snapshot).actions.into_iter().find_map(|action| match action {
        Action::Patch { body, .. } => body["spec"]["podCIDR"].as_str().map(str::to_owned),
        _ => None,
    })
}

#[test]
fn the_first_free_range_is_given() {
    let cases: [(&[&str], u8, Option<&str>); 7] = [
        (&[], 24, Some("10.244.0.0/24")),
        (&["10.244.0.0/24", "10.244.1.0/24"], 24, Some("10.244.2.0/24")),
        (&["10.244.0.0/24", "10.244.2.0/24"], 24, Some("10.244.1.0/24")),
        (&["10.244.0.0/23"], 24, Some("10.244.2.0/24")),
        (&["10.244.0.0/17", "10.244.200.0/24"], 17, None),
        (&["0.0.0.0/0", "10.244.0.0/16", "fd00::/64", "10.244.0.0/24"], 24, Some("10.244.1.0/24")),
        (&["10.244.0.0/16"], 16, None),
    ];
    for (taken, prefix, expected) in cases {
        assert_eq!(given(taken, prefix).as_deref(), expected, "{taken:?} /{prefix}");
    }
}

#[test]
fn a_node_with_a_range_keeps_it() {
    let snapshot = Snapshot {
        node: node(Some("10.244.9.0/24")),
        taken: BTreeSet::new(),
        cluster: "10.244.0.0/16".parse().unwrap(),
        prefix: 24,
    };
    assert_eq!(plan(&snapshot), Plan::default());
}
