
use serde_json::{Value, json};

use super::*;

fn asked(spec: Value) -> Vec<(String, usize)> {
    let spec: PodSpec = serde_json::from_value(spec).unwrap();
    let shown = |(name, amount): (&str, Amount)| (name.to_owned(), amount.to_string().parse().unwrap());
    of_pod(&spec).iter().map(shown).collect()
}

fn container(cpu: &str) -> Value {
    json!({"name": "c", "resources": {"requests": {"cpu": cpu}}})
}

fn sidecar(cpu: &str) -> Value {
    json!({"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": cpu}}})
}

#[test]
fn cpu_arithmetic() {
    let cases = [
        ("containers add up", json!({"containers": [container("100m"), container("1")]}), 1100),
        (
            "one init container at a time",
            json!({"containers": [container("1")], "initContainers": [container("2"), container("1500m")]}),
            2000,
        ),
        (
            "small init containers do not count",
            json!({"containers": [container("1")], "initContainers": [container("500m")]}),
            1000,
        ),
        (
            "sidecars run beside the containers",
            json!({"containers": [container("1")], "initContainers": [sidecar("200m"), sidecar("300m")]}),
            1500,
        ),
        (
            "and beside the init containers after them",
            json!({"containers": [container("1")],
                    "initContainers": [container("3"), sidecar("200m"), container("2900m"), sidecar("1")]}),
            3100,
        ),
        ("overhead comes on top", json!({"containers": [container("1")], "overhead": {"cpu": "250m"}}), 1250),
        (
            "the pod's own request takes precedence",
            json!({"containers": [container("1")], "resources": {"requests": {"cpu": "2"}},
                    "overhead": {"cpu": "250m"}}),
            2250,
        ),
        ("a part of a thousandth is rounded up", json!({"containers": [container("0.0001")]}), 1),
    ];
    for (name, spec, expected) in cases {
        assert_eq!(asked(spec), [("cpu".to_owned(), expected)], "{name}");
    }
}

#[test]
fn other_resources_are_whole() {
    let spec = json!({"containers": [{"name": "c", "resources": {"requests":
            {"memory": "1Ki", "ephemeral-storage": "1k", "example.com/dongle": "2"}}}]});
    let expected = [("ephemeral-storage", 1000), ("example.com/dongle", 2), ("memory", 1024)];
    assert_eq!(asked(spec), expected.map(|(name, amount)| (name.to_owned(), amount)));
}
