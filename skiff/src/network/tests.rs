use std::cell::RefCell;

use super::*;
use crate::cluster::sample;

#[test]
fn from_nothing() {
    let batches = plan(&sample(1), &Present::default());
    assert_eq!(batches.len(), 3);
    assert_eq!(
        batches[0].commands,
        "link add skiff1 type bridge forward_delay 0 stp_state 0\n\
             addr replace 10.60.1.1/24 dev skiff1\n\
             link set skiff1 up\n\
             netns add skiff-two-control-plane\n\
             link add skiff1-cp type veth peer name eth0 netns skiff-two-control-plane\n\
             link set skiff1-cp master skiff1 up\n\
             netns add skiff-two-node-1\n\
             link add skiff1-n1 type veth peer name eth0 netns skiff-two-node-1\n\
             link set skiff1-n1 master skiff1 up\n\
             route replace 10.97.0.0/16 via 10.60.1.11\n"
    );
    assert_eq!(batches[1].netns.as_deref(), Some("skiff-two-control-plane"));
    assert!(
        batches[1].commands.ends_with("default via 10.60.1.1\nroute replace 10.97.0.0/16 via 10.60.1.11\n")
    );
    assert_eq!(batches[2].netns.as_deref(), Some("skiff-two-node-1"));
    assert_eq!(
        batches[2].commands,
        "link set lo up\naddr replace 10.60.1.11/24 dev eth0\nlink set eth0 up\nroute replace default via 10.60.1.1\n"
    );
}

#[test]
fn a_control_plane_of_pods_has_its_address_on_the_first_node() {
    let cluster = Cluster { control_plane: ControlPlane::Pods, ..sample(2) };
    let batches = plan(&cluster, &Present::default());
    assert_eq!(batches.len(), 3);
    assert!(!batches[0].commands.contains("control-plane") && !batches[0].commands.contains("skiff1-cp"));
    let ends = "route replace default via 10.60.1.1\naddr replace 10.60.1.2/32 dev eth0\n";
    assert!(batches[1].commands.ends_with(ends), "{}", batches[1].commands);
    assert!(batches[2].commands.ends_with("route replace default via 10.60.1.1\n"));
}

#[test]
fn host_and_control_plane_have_the_same_routes_to_pods() {
    let cluster = sample(2);
    let route = |range: u8, node: u8| {
        (Ipv4Net::new_assert(Ipv4Addr::new(10, 243, range, 0), 24), cluster.ranges.node_address(node))
    };
    let (first, second) = (route(0, 0), route(1, 1));
    let cases = [
        (vec![], vec![], ""),
        (vec![first], vec![first], ""),
        (vec![], vec![first], "route replace 10.243.0.0/24 via 10.60.1.11\n"),
        (vec![first], vec![first, second], "route replace 10.243.1.0/24 via 10.60.1.12\n"),
        (vec![first], vec![route(0, 1)], "route replace 10.243.0.0/24 via 10.60.1.12\n"),
        (
            vec![first, second],
            vec![second],
            "route replace 10.243.0.0/24 via 10.60.1.11\nroute delete 10.243.0.0/24 via 10.60.1.11\n",
        ),
    ];
    let places = [None, Some("control-plane".to_owned())];
    for (known, wanted, commands) in cases {
        let ran = RefCell::new(Vec::new());
        let mut standing = known;
        let failures = settle(&places, &mut standing, &wanted, |batch| {
            ran.borrow_mut().push((batch.netns.clone(), batch.commands.clone()));
            Ok(())
        });
        assert!(failures.is_empty(), "{failures:?}");
        assert_eq!(standing.iter().collect::<BTreeSet<_>>(), wanted.iter().collect());
        let expected = places.iter().filter(|_| !commands.is_empty());
        let expected: Vec<_> = expected.map(|place| (place.clone(), commands.to_owned())).collect();
        assert_eq!(ran.into_inner(), expected);
    }
}

#[test]
fn a_route_that_cannot_be_made_stands_in_the_way_of_no_other() {
    let ranges = crate::ranges::Ranges::of(1);
    let route = |range: u8, node: u8| {
        (Ipv4Net::new_assert(Ipv4Addr::new(10, 243, range, 0), 24), ranges.node_address(node))
    };
    let run = |batch: &Batch| match batch.commands.contains("10.243.1.0/24") {
        true => bail!("Nexthop has invalid gateway."),
        false => Ok(()),
    };
    let mut known = vec![route(9, 3)];
    let wanted = [route(0, 0), route(1, 1), route(2, 2)];
    let failures = settle(&[None], &mut known, &wanted, run);
    let failures: Vec<String> = failures.iter().map(|error| format!("{error:#}")).collect();
    let expected = "the route to 10.243.1.0/24 by way of 10.60.1.12: Nexthop has invalid gateway.";
    assert_eq!(failures, [expected]);
    assert_eq!(known, [route(0, 0), route(2, 2)]);
}

#[test]
fn what_stands_is_not_made_again() {
    let all = ["skiff1", "skiff1-cp", "skiff1-n1"].map(String::from);
    let spaces = ["skiff-two-control-plane", "skiff-two-node-1"].map(String::from);
    let present = Present { namespaces: spaces.into(), links: all.into() };
    let batches = plan(&sample(1), &present);
    assert!(batches.iter().all(|batch| !batch.commands.contains(" add ")), "{batches:?}");
}

#[test]
fn a_lost_namespace_gets_a_new_cable() {
    let links = ["skiff1", "skiff1-cp"].map(String::from);
    let spaces = ["skiff-two-control-plane"].map(String::from);
    let batches = plan(&sample(1), &Present { namespaces: spaces.into(), links: links.into() });
    let adds: Vec<&str> = batches[0].commands.lines().filter(|line| line.contains(" add ")).collect();
    assert_eq!(
        adds,
        ["netns add skiff-two-node-1", "link add skiff1-n1 type veth peer name eth0 netns skiff-two-node-1"]
    );
}

#[test]
fn a_stopped_cluster_answers_nowhere_and_opening_takes_all_of_that_back() {
    let cluster = sample(1);
    let closed = "route replace unreachable 10.60.1.0/24 metric 65535\n\
                      route replace unreachable 10.243.0.0/16 metric 65535\n\
                      route replace unreachable 10.97.0.0/16 metric 65535\n";
    assert_eq!(closing(&cluster), closed);
    assert_eq!(opening(&cluster, &ranges(&cluster)), closed.replace("replace", "delete"));
    assert_eq!(
        opening(&cluster, &ranges(&Cluster { ranges: crate::ranges::Ranges::of(2), ..cluster.clone() })),
        ""
    );
}

#[test]
fn namespaces_of_a_longer_name_belong_to_another_cluster() {
    let cases = [
        ("skiff-two-control-plane", true),
        ("skiff-two-node-12", true),
        ("skiff-two-x-node-1", false),
        ("skiff-two-x-control-plane", false),
        ("skiff-two-node-", false),
        ("skiff-tw", false),
    ];
    for (name, ours) in cases {
        assert_eq!(belongs(name, "skiff-two-"), ours, "{name}");
    }
}
