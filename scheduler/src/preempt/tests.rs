use serde_json::{Value, json};

use super::*;
use crate::place::place;
use crate::testing::{cluster, merge, pod};

fn sized(name: &str, priority: i32, cpu: &str, more: &Value) -> Arc<Needs> {
    let mut spec = json!({"metadata": {"labels": {"app": name.split('-').next()}}, "spec": {"priority": priority,
        "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}});
    merge(&mut spec, more);
    pod(name, &spec)
}

fn plain(name: &str, priority: i32, cpu: &str) -> Arc<Needs> {
    sized(name, priority, cpu, &json!({}))
}

fn started(name: &str, priority: i32, cpu: &str, at: &str) -> Arc<Needs> {
    sized(name, priority, cpu, &json!({"status": {"startTime": at}}))
}

/// Who goes from where for a pod of 3 cpus and priority 10, or why nobody does.
fn chosen(pods: &[(&str, Arc<Needs>)], budgets: &[Value]) -> Result<(String, Vec<String>), Hopeless> {
    let mut cluster = cluster(&["a/a1", "b/b1"], pods);
    for (i, budget) in budgets.iter().enumerate() {
        let budget = Arc::new(serde_json::from_value(budget.clone()).unwrap());
        cluster.budgets.insert(("default".to_owned(), i.to_string()), budget);
    }
    let incoming = plain("new", 10, "3");
    let unfit = place(&cluster, &incoming, "").unwrap_err();
    let chosen = preempt(&cluster, &incoming, &unfit)?;
    Ok((chosen.node, chosen.victims.iter().map(|pod| pod.name.clone()).collect()))
}

fn goes(node: &str, victims: &[&str]) -> Result<(String, Vec<String>), Hopeless> {
    Ok((node.to_owned(), victims.iter().map(ToString::to_string).collect()))
}

#[test]
fn the_least_important_go_and_no_more_than_need_be() {
    for (pods, expected) in [
        // The only ones that are less important.
        (vec![("a1", plain("x", 10, "2")), ("b1", plain("y", 5, "2"))], goes("b1", &["y"])),
        // Of two nodes, the one with the least important victim.
        (vec![("a1", plain("x", 6, "2")), ("b1", plain("y", 5, "2"))], goes("b1", &["y"])),
        // Fewer of them.
        (
            vec![
                ("a1", plain("x", 5, "1")),
                ("a1", plain("w", 5, "1")),
                ("a1", plain("v", 5, "2")),
                ("b1", plain("y", 5, "4")),
            ],
            goes("b1", &["y"]),
        ),
        // The important stay if the rest is enough.
        (
            vec![
                ("a1", plain("x", 7, "1")),
                ("a1", plain("w", 3, "1")),
                ("a1", plain("v", 1, "2")),
                ("b1", plain("y", 10, "4")),
            ],
            goes("a1", &["w", "v"]),
        ),
        // Who has run the shortest.
        (
            vec![
                ("a1", started("x", 5, "2", "2026-01-01T00:00:00Z")),
                ("b1", started("y", 5, "2", "2026-01-02T00:00:00Z")),
            ],
            goes("b1", &["y"]),
        ),
        // Who has not even started has run shorter still.
        (
            vec![("a1", plain("x", 5, "2")), ("b1", started("y", 5, "2", "2026-01-02T00:00:00Z"))],
            goes("a1", &["x"]),
        ),
    ] {
        assert_eq!(chosen(&pods, &[]), expected, "{pods:?}");
    }
}

#[test]
fn budgets_are_broken_last() {
    let budget = |app: &str, allowed: i32| {
        json!({"metadata": {"namespace": "default"}, "spec": {"selector": {"matchLabels": {"app": app}}},
            "status": {"disruptionsAllowed": allowed}})
    };
    let pods = [("a1", plain("x", 5, "2")), ("b1", plain("y", 6, "2"))];
    assert_eq!(chosen(&pods, &[]), goes("a1", &["x"]));
    assert_eq!(chosen(&pods, &[budget("x", 0)]), goes("b1", &["y"]));
    assert_eq!(chosen(&pods, &[budget("x", 1)]), goes("a1", &["x"]));
    assert_eq!(chosen(&pods, &[budget("x", 0), budget("y", 0)]), goes("a1", &["x"]), "best effort");
    // On one node, the unguarded goes although it is more important.
    let one = [("a1", plain("x", 3, "1")), ("a1", plain("y", 6, "1")), ("b1", plain("z", 10, "4"))];
    assert_eq!(chosen(&one, &[]), goes("a1", &["x"]));
    assert_eq!(chosen(&one, &[budget("x", 0)]), goes("a1", &["y"]));
}

#[test]
fn it_is_said_why_nobody_goes() {
    let no_help =
        |reasons: [&str; 2]| Err(Hopeless::NoHelp(reasons.map(|why| vec![why.to_owned()]).to_vec()));
    let nobody = "No preemption victims found for incoming pod";
    assert_eq!(
        chosen(&[("a1", plain("x", 10, "2")), ("b1", plain("y", 11, "2"))], &[]),
        no_help([nobody, nobody])
    );
    let some = [("a1", plain("x", 10, "2")), ("a1", plain("w", 1, "1")), ("b1", plain("y", 11, "2"))];
    assert_eq!(chosen(&some, &[]), no_help(["Insufficient cpu", nobody]));

    let cluster = cluster(&["a/a1"], &[("a1", plain("x", 1, "2"))]);
    let hopeless = |pod: &Needs| {
        let unfit = place(&cluster, pod, "").unwrap_err();
        preempt(&cluster, pod, &unfit).unwrap_err()
    };
    let elsewhere = sized("new", 10, "3", &json!({"spec": {"nodeSelector": {"no": "where"}}}));
    let words = "Preemption is not helpful for scheduling";
    assert_eq!(hopeless(&elsewhere), Hopeless::NoHelp(vec![vec![words.to_owned()]]));
    let gentle = sized("new", 10, "3", &json!({"spec": {"preemptionPolicy": "Never"}}));
    assert_eq!(hopeless(&gentle), Hopeless::NotEligible("not eligible due to preemptionPolicy=Never."));
}

#[test]
fn room_is_kept_for_who_waits_for_victims() {
    let mut cluster = cluster(&["a/a1"], &[("a1", plain("x", 1, "3"))]);
    let incoming = plain("new", 10, "3");
    cluster.nominate("a1", &incoming);
    let going = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": {"conditions": [
        {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]}});
    cluster.confirm("x", "a1", &sized("x", 1, "3", &going));
    let unfit = place(&cluster, &incoming, "").unwrap_err();
    assert!(preempt(&cluster, &incoming, &unfit).unwrap_err().waits());
    assert!(place(&cluster, &plain("small", 1, "1"), "").is_err(), "it would take the room");
    cluster.remove_pod("x");
    assert!(place(&cluster, &plain("small", 1, "2"), "").is_err(), "the room is kept");
    assert_eq!(place(&cluster, &plain("small", 1, "1"), ""), Ok("a1"));
    assert_eq!(place(&cluster, &plain("important", 11, "2"), ""), Ok("a1"));
    assert_eq!(place(&cluster, &incoming, ""), Ok("a1"));
    cluster.assume("new", "a1", &incoming);
    assert_eq!(place(&cluster, &plain("small", 1, "1"), ""), Ok("a1"), "it takes its room once");
}

#[test]
fn pods_that_keep_others_away_can_be_pushed_out() {
    let apart = json!({"spec": {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "zone"}]}}}});
    let cluster = cluster(&["a/a1"], &[("a1", sized("web-1", 1, "1", &apart))]);
    let incoming = sized("web-2", 10, "1", &apart);
    let unfit = place(&cluster, &incoming, "").unwrap_err();
    let chosen = preempt(&cluster, &incoming, &unfit).unwrap();
    assert_eq!(chosen.victims.len(), 1);
}
