//! The table of exercises names tests that there are, and every test has its exercise. Needs no cluster.

#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::Path;

/// What is tested for its own sake and is no exercise.
const NO_EXERCISES: [&str; 4] = [
    "clusters::clusters_without_etcd",
    "clusters::refusals_are_clear_sentences",
    "errors::errors_have_types",
    "confinement::a_node_refuses_what_it_does_not_enforce_and_keeps_what_it_needs",
];

#[test]
fn each_exercise_has_its_test_and_each_test_its_exercise() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = std::fs::read_to_string(here.join("../docs/exercises.md")).unwrap();
    let rows = table.lines().filter(|line| line.starts_with('|'));
    let named: BTreeSet<String> = rows
        .flat_map(|row| row.rsplit('|').nth(1).unwrap().split('`').skip(1).step_by(2).map(str::to_owned))
        .collect();
    let mut tests = BTreeSet::new();
    for entry in std::fs::read_dir(here.join("tests")).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if file == "exercises" {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let mut lines = text.lines();
        while lines.by_ref().any(|line| line == "#[test]") {
            let name = lines.next().unwrap().strip_prefix("fn ").unwrap().split('(').next().unwrap();
            tests.insert(format!("{file}::{name}"));
        }
    }
    let others: BTreeSet<String> = NO_EXERCISES.map(str::to_owned).into();
    assert_eq!(named, tests.difference(&others).cloned().collect(), "docs/exercises.md, and the tests");
    assert!(others.is_subset(&tests), "{others:?}");
}
