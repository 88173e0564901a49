#![allow(clippy::unwrap_used)]

use super::*;
use crate::admission::pod_security::{in_detail, standard::Policy};

#[test]
fn violations_are_told_as_the_real_server_tells_them() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("cases.json")).unwrap();
    let standards = [
        "baseline:latest",
        "baseline:v1.10",
        "baseline:v1.30",
        "restricted:v1.5",
        "restricted:v1.20",
        "restricted:v1.24",
        "restricted:v1.34",
        "restricted:latest",
    ];
    for case in cases {
        for named in standards {
            let (level, version) = named.split_once(':').unwrap();
            let labels =
                [("enforce", level), ("enforce-version", version)].map(|(mode, said)| (label(mode), said));
            let standard = Policy::of(labels.iter().map(|(label, said)| (&**label, *said))).enforce;
            let by = |told: &&Value| told["by"].as_array().unwrap().iter().any(|by| by == named);
            let expected =
                case["told"].as_array().unwrap().iter().find(by).map_or("", |told| told.str_at(&["as"]));
            assert_eq!(standard.to_string(), named);
            assert_eq!(
                in_detail(&violations(standard, &Pod(&case["pod"]))),
                expected,
                "{named} {}",
                case["what"]
            );
        }
    }
}

fn label(mode: &str) -> String {
    format!("pod-security.kubernetes.io/{mode}")
}

#[test]
fn the_privileged_may_do_everything_and_debuggers_count() {
    let mut pod = serde_json::json!({"spec": {"hostPID": true, "ephemeralContainers": [{"name": "e"}]}});
    let standard = |level| Standard { level, version: None };
    assert_eq!(violations(standard(Level::Privileged), &Pod(&pod)), []);
    pod["spec"]["hostPID"] = false.into();
    let told = in_detail(&violations(standard(Restricted), &Pod(&pod)));
    assert!(told.starts_with("allowPrivilegeEscalation != false (container \"e\" must"), "{told}");
}
