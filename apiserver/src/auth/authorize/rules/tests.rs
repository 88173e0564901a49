use serde_json::{Value, json};

use super::*;

fn rule(value: Value) -> PolicyRule {
    serde_json::from_value(value).expect("is a rule")
}

fn on(groups: &[&str], resources: &[&str], names: &[&str], verbs: &[&str]) -> PolicyRule {
    let rule = json!({"apiGroups": groups, "resources": resources, "resourceNames": names, "verbs": verbs});
    self::rule(rule)
}

#[test]
fn a_rule_is_about_groups_resources_their_parts_names_and_verbs() {
    let ask = |verb, group, (resource, subresource), name| Action::Resource {
        verb,
        group,
        resource,
        subresource,
        namespace: "a",
        name,
        fields: None,
    };
    let (pods, log, scale) = (("pods", ""), ("pods", "log"), ("things", "scale"));
    for (rule, action, allowed) in [
        (on(&[""], &["pods"], &[], &["get", "list"]), ask("list", "", pods, ""), true),
        (on(&[""], &["pods"], &[], &["get"]), ask("list", "", pods, ""), false),
        (on(&["apps"], &["pods"], &[], &["get"]), ask("get", "", pods, ""), false),
        (on(&[""], &["pods"], &[], &["get"]), ask("get", "", log, "p"), false),
        (on(&[""], &["pods/*"], &[], &["get"]), ask("get", "", log, "p"), false),
        (on(&[""], &["pods/log"], &[], &["get"]), ask("get", "", log, "p"), true),
        (on(&[""], &["pods/log"], &[], &["get"]), ask("get", "", pods, "p"), false),
        (on(&["*"], &["*"], &[], &["*"]), ask("get", "acme.com", scale, "p"), true),
        (on(&["*"], &["*/scale"], &[], &["*"]), ask("patch", "acme.com", scale, "p"), true),
        (on(&["*"], &["*/scale"], &[], &["*"]), ask("get", "", log, "p"), false),
        (on(&[""], &["pods"], &["p"], &["get"]), ask("get", "", pods, "p"), true),
        (on(&[""], &["pods"], &["p"], &["get"]), ask("get", "", pods, "q"), false),
        (on(&[""], &["pods"], &["p"], &["list"]), ask("list", "", pods, ""), false),
        (on(&[""], &["pods"], &["*"], &["get"]), ask("get", "", pods, "q"), false),
        (on(&[""], &["pods"], &[], &["*"]), Action::Path { verb: "get", path: "pods" }, false),
    ] {
        assert_eq!(allows(&rule, &action), allowed, "{rule:?} {action:?}");
    }
    let paths = |urls: &[&str]| rule(json!({"nonResourceURLs": urls, "verbs": ["get"]}));
    for (urls, path, allowed) in [
        (&["/healthz"][..], "/healthz", true),
        (&["/healthz"], "/healthz/", false),
        (&["/apis/*"], "/apis/apps/v1", true),
        (&["/apis/*"], "/apis", false),
        (&["*"], "/anything", true),
    ] {
        assert_eq!(allows(&paths(urls), &Action::Path { verb: "get", path }), allowed, "{urls:?} {path}");
        assert!(!allows(&paths(urls), &Action::Path { verb: "post", path }));
    }
}

#[test]
fn what_is_not_held_is_told_by_resource() {
    let told = |owned: &[PolicyRule], wanted: &[PolicyRule]| {
        let owned: Vec<&PolicyRule> = owned.iter().collect();
        described(&missing(&owned, wanted).expect("is small"))
    };
    let wanted = [
        on(&["", "apps"], &["pods", "pods/log"], &[], &["get", "list"]),
        on(&[""], &["secrets"], &["a", "b"], &["get"]),
        rule(json!({"nonResourceURLs": ["/metrics", "/x/*"], "verbs": ["get"]})),
    ];
    assert_eq!(
        told(&[], &wanted),
        [
            r#"{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}"#,
            r#"{APIGroups:[""], Resources:["pods/log"], Verbs:["get" "list"]}"#,
            r#"{APIGroups:[""], Resources:["secrets"], ResourceNames:["a"], Verbs:["get"]}"#,
            r#"{APIGroups:[""], Resources:["secrets"], ResourceNames:["b"], Verbs:["get"]}"#,
            r#"{APIGroups:["apps"], Resources:["pods"], Verbs:["get" "list"]}"#,
            r#"{APIGroups:["apps"], Resources:["pods/log"], Verbs:["get" "list"]}"#,
            r#"{NonResourceURLs:["/metrics"], Verbs:["get"]}"#,
            r#"{NonResourceURLs:["/x/*"], Verbs:["get"]}"#,
        ]
        .join("\n")
    );
    for (owned, rest) in [
        (on(&["*"], &["*"], &[], &["*"]), 2),
        (on(&[""], &["pods", "*/log", "secrets"], &[], &["*"]), 4),
        (on(&[""], &["secrets"], &["a"], &["*"]), 7),
        (rule(json!({"nonResourceURLs": ["*"], "verbs": ["*"]})), 6),
        (rule(json!({"nonResourceURLs": ["/x/y"], "verbs": ["*"]})), 8),
    ] {
        assert_eq!(told(std::slice::from_ref(&owned), &wanted).lines().count(), rest, "{owned:?}");
    }
    // A wildcard is held by a wildcard alone.
    assert_eq!(
        told(&[on(&[""], &["pods"], &[], &["get"])], &[on(&[""], &["*"], &[], &["get"])]).lines().count(),
        1
    );
    assert_eq!(told(&[on(&[""], &["*/log"], &[], &["get"])], &[on(&[""], &["*/log"], &[], &["get"])]), "");
}

#[test]
fn a_role_of_too_many_rights_is_not_compared() {
    let many: Vec<String> = (0..3000).map(|i| format!("r{i}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(missing(&[], &[on(&many, &many, &many, &many)]).is_err());
}

#[test]
fn of_very_much_that_is_missing_the_beginning_is_told() {
    let many: Vec<String> = (0..300).map(|n| format!("r{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let long = "n".repeat(100_000);
    let wanted = [on(&many, &many, &[&long], &["get"])];
    let told = described(&missing(&[], &wanted).expect("within what is compared"));
    assert!(told.len() < 50 * 1000, "{} bytes", told.len());
    assert!(told.ends_with("and 89950 more"), "{}", &told[told.len() - 100..]);
    let names: Vec<String> = (0..1000).map(|n| format!("n{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let held = on(&[""], &["pods"], &names, &["get"]);
    assert!(missing(&[&held], &wanted).is_err(), "names that are held count, too");
}
