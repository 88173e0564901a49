use std::collections::BTreeSet;

use super::*;

fn selection(names: &str) -> Result<Selection, String> {
    Selection::new(&names.split(',').map(str::to_owned).collect::<Vec<_>>()).map_err(|why| why.to_string())
}

#[test]
fn the_first_that_names_a_controller_counts() {
    for (names, job, token_cleaner) in [
        ("*", true, true),
        ("*,bootstrapsigner,tokencleaner", true, true),
        ("*,-job-controller", false, true),
        ("-tokencleaner,*", true, false),
        ("job", true, false),
        ("job-controller", true, false),
        ("job-controller,-job-controller", true, false),
        ("-job-controller,job-controller,token-cleaner-controller", false, true),
    ] {
        let selection = selection(names).expect("they are all known");
        let has = ["job-controller", "token-cleaner-controller"].map(|name| selection.has(name));
        assert_eq!(has, [job, token_cleaner], "{names}");
    }
}

#[test]
fn what_is_no_controller_is_refused() {
    for name in ["", "-", "-*", "jobs", "jobs-controller", "--job-controller"] {
        assert!(
            selection(name).is_err_and(|why| why.contains("is not in the list of controllers")),
            "{name}"
        );
    }
    let refusal = selection("resourcequota-controller").expect_err("one is missing");
    assert_eq!(
        refusal,
        "resourcequota-controller learns of kinds by garbage-collector-controller, which is not to run"
    );
}

#[test]
fn names_of_before_are_known() {
    for (old, name) in OLD_NAMES {
        assert!(CONTROLLERS.contains(&name), "{old}");
        assert!(selection(&format!("*,{old}")).expect("it is known").has(name), "{old}");
        assert!(!selection(&format!("-{old},garbagecollector")).expect("it is known").has(name), "{old}");
    }
}

#[test]
fn the_list_is_that_of_what_is_started() {
    let started = include_str!("../lib.rs");
    let (_, started) = started.split_once("async fn start(").expect("controllers are started there");
    let words = started.split(|c: char| !(c.is_ascii_alphanumeric() || c == '"' || c == '-'));
    let quoted: BTreeSet<&str> = words.filter_map(|word| word.strip_prefix('"')?.strip_suffix('"')).collect();
    let by_name = [GARBAGE_COLLECTOR, RESOURCE_QUOTA];
    for controller in CONTROLLERS.into_iter().filter(|controller| !by_name.contains(controller)) {
        assert!(quoted.contains(controller), "{controller} is in the list, but not started");
    }
}
