use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::json;

use super::*;
use crate::amounts::Amounts;

struct World {
    cluster: Cluster,
    last: String,
    count: usize,
}

impl World {
    fn new(nodes: &[&str]) -> Self {
        let mut world = Self { cluster: Cluster::default(), last: String::new(), count: 0 };
        nodes.iter().for_each(|name| world.add_node(name));
        world
    }

    fn add_node(&mut self, name: &str) {
        let node: Node = serde_json::from_value(json!({"metadata": {"name": name}, "status": {
                "allocatable": {"pods": "110", "cpu": "4"},
                "conditions": [{"type": "Ready", "status": "True"}]}}))
        .unwrap();
        self.cluster.set_node(&node);
    }

    fn place(&mut self, needs: &Arc<Needs>) -> String {
        let node = place(&self.cluster, needs, &self.last).unwrap().to_owned();
        self.count += 1;
        self.cluster.assume(&format!("uid-{}", self.count), &node, needs);
        self.last.clone_from(&node);
        node
    }

    fn place_many(&mut self, needs: &Arc<Needs>, count: usize) -> String {
        (0..count).map(|_| self.place(needs)).collect::<Vec<_>>().join(" ")
    }
}

fn owned(owner: &str) -> Arc<Needs> {
    Arc::new(Needs { owner: Some(owner.to_owned()), ..Needs::default() })
}

#[test]
fn six_pods_on_two_nodes_land_three_and_three() {
    let mut world = World::new(&["node-1", "node-2"]);
    assert_eq!(world.place_many(&owned("web"), 6), "node-1 node-2 node-1 node-2 node-1 node-2");
}

#[test]
fn pods_without_an_owner_take_turns() {
    let mut world = World::new(&["a", "b", "c"]);
    assert_eq!(world.place_many(&Arc::default(), 5), "a b c a b");
    world.cluster.remove_node("c");
    assert_eq!(world.place_many(&Arc::default(), 2), "a b");
    world.add_node("bb");
    assert_eq!(world.place_many(&Arc::default(), 3), "bb a b");
}

#[test]
fn two_deployments_that_grow_together_are_each_spread() {
    let mut world = World::new(&["a", "b"]);
    let (web, db) = (owned("web"), owned("db"));
    let mut web_on_a = 0;
    for _ in 0..10 {
        web_on_a += usize::from(world.place(&web) == "a");
        world.place(&db);
    }
    assert_eq!(web_on_a, 5);
}

#[test]
fn a_full_node_is_passed_over_and_a_new_one_catches_up() {
    let mut world = World::new(&["a", "b"]);
    let requests = Amounts::of(&[("cpu".to_owned(), Quantity("1".to_owned()))].into());
    let needs = Arc::new(Needs { owner: Some("web".into()), requests, ..Needs::default() });
    assert_eq!(world.place_many(&needs, 8), "a b a b a b a b");
    let unfit = place(&world.cluster, &needs, "b").unwrap_err();
    assert_eq!((unfit.rejections.len(), unfit.filters()), (2, vec![Filter::Resources]));
    world.add_node("c");
    assert_eq!(world.place_many(&needs, 4), "c c c c");
}
