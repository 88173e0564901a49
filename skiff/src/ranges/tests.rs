#![allow(clippy::unwrap_used)]
use super::*;

#[test]
fn the_first_cluster_has_the_usual_ranges() {
    let ranges = Ranges::choose(0, &[]).unwrap();
    assert_eq!(ranges.pods.to_string(), "10.244.0.0/16");
    assert_eq!(ranges.services.to_string(), "10.96.0.0/16");
    assert_eq!(ranges.dns().to_string(), "10.96.0.10");
    assert_eq!(ranges.control_plane().to_string(), "10.60.0.2");
    assert_eq!(ranges.node_address(1).to_string(), "10.60.0.12");
    let balancers = ranges.load_balancers();
    assert_eq!(balancers.to_string(), "10.60.0.128/25");
    let last = ranges.node_address(crate::cluster::MOST_NODES - 1);
    assert!(ranges.may_be_node(last) && !balancers.contains(&last));
    assert!(balancers.hosts().all(|address| !ranges.may_be_node(address)));
}

#[test]
fn taken_ranges_are_passed_over() {
    let taken = |texts: &[&str]| texts.iter().map(|t| t.parse().unwrap()).collect::<Vec<Ipv4Net>>();
    let cases: &[(&[&str], u8)] = &[
        (&["0.0.0.0/0", "192.168.1.0/24"], 1),
        (&["10.60.1.0/24"], 2),
        (&["10.243.7.0/24"], 2),
        (&["10.97.0.0/16", "10.60.2.1/32"], 3),
    ];
    for (texts, index) in cases {
        assert_eq!(Ranges::choose(1, &taken(texts)).unwrap().index, *index, "{texts:?}");
    }
    assert!(Ranges::choose(0, &taken(&["10.0.0.0/8"])).unwrap_err().to_string().contains("leave no room"));
}

#[test]
fn no_two_indices_overlap() {
    let all: Vec<Ipv4Net> =
        (0..INDICES).map(Ranges::of).flat_map(|r| [r.nodes, r.pods, r.services]).collect();
    for (i, a) in all.iter().enumerate() {
        assert!(all[i + 1..].iter().all(|b| !overlap(a, b)), "{a}");
    }
}

#[test]
fn destinations_of_routes() {
    let routes = "default via 192.0.2.1 dev eth0 \n192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.2 \n\
                      local 192.0.2.2 dev eth0 table local proto kernel\nunreachable 10.9.0.0/16 \n";
    let found: Vec<String> = destinations(routes).iter().map(|n| n.to_string()).collect();
    assert_eq!(found, ["192.0.2.0/24", "192.0.2.2/32", "10.9.0.0/16"]);
}
