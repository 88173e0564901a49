use super::*;

fn budget(status: Value) -> Value {
    json!({"metadata": {"name": "b", "generation": 1}, "status": status})
}

#[test]
fn a_budget_counts_down_and_says_when_it_is_used_up() {
    let full = budget(json!({"observedGeneration": 1, "disruptionsAllowed": 2, "disruptedPods": {"a": "t"}}));
    let once = counted(&full, "p", "now").expect("two are allowed");
    assert_eq!(once["status"]["disruptionsAllowed"], 1);
    assert_eq!(once["status"]["disruptedPods"], json!({"a": "t", "p": "now"}));
    assert_eq!(once["status"].get("conditions"), None);
    let twice = counted(&once, "q", "now").expect("one is allowed");
    assert_eq!(twice["status"]["conditions"][0]["reason"], "InsufficientPods");
    let refused = counted(&twice, "r", "now").expect_err("none is allowed");
    let details = refused.details.expect("a cause");
    assert_eq!((refused.code, details.retry_after_seconds), (429, None));
    assert_eq!(details.causes[0].message, "The disruption budget b needs 0 healthy pods and has 0 currently");
    let old =
        counted(&budget(json!({"disruptionsAllowed": 5})), "p", "now").expect_err("the numbers are old");
    assert_eq!(old.details.and_then(|d| d.retry_after_seconds), Some(COME_AGAIN));
}

#[test]
fn unhealthy_pods_go_where_nothing_gets_worse() {
    let sick = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}});
    let well = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    let enough = budget(json!({"currentHealthy": 2, "desiredHealthy": 2}));
    let few = budget(json!({"currentHealthy": 1, "desiredHealthy": 2}));
    let mut always = few.clone();
    always["spec"] = json!({"unhealthyPodEvictionPolicy": "AlwaysAllow"});
    assert!(matches!(verdict(None, &well), Verdict::Free));
    assert!(matches!(verdict(Some(&enough), &well), Verdict::Counted(_)));
    assert!(matches!(verdict(Some(&enough), &sick), Verdict::FreeWhileUnhealthy(_)));
    assert!(matches!(verdict(Some(&few), &sick), Verdict::Counted(_)));
    assert!(matches!(verdict(Some(&always), &sick), Verdict::FreeWhileUnhealthy(_)));
}

#[test]
fn what_does_no_work_goes_as_it_is() {
    for (phase, deleting, as_it_is) in [
        ("Pending", false, true),
        ("Pending", true, false),
        ("Failed", false, false),
        ("Running", false, false),
    ] {
        let mut pod = json!({"metadata": {}, "status": {"phase": phase}});
        if deleting {
            pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        let told = verdict(None, &pod);
        assert_eq!(matches!(told, Verdict::FreeAsItIs), as_it_is, "{phase} {deleting}");
        assert!(as_it_is || matches!(told, Verdict::Free), "{phase} {deleting}");
    }
}
