use serde_json::{Value, json};

use crate::builtin::{
    pod::Pod,
    testing::{made, wrong},
};

fn pod(selector: Value, keys: Value) -> Value {
    made::<Pod>(json!({"metadata": {"name": "p", "labels": {"a": "1", "b": "2"}}, "spec": {
                "containers": [{"name": "c", "image": "i"}],
                "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                    {"topologyKey": "t", "labelSelector": selector, "matchLabelKeys": keys, "mismatchLabelKeys": ["b"]}]}},
                "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "t", "whenUnsatisfiable": "DoNotSchedule",
                    "labelSelector": selector, "matchLabelKeys": keys}]}}))
}

#[test]
fn values_come_from_the_pod() {
    let made = pod(json!({"matchLabels": {"c": "3"}}), json!(["a", "none"]));
    let expression =
        |key: &str, operator: &str, value: &str| json!({"key": key, "operator": operator, "values": [value]});
    assert_eq!(
        made["spec"]["topologySpreadConstraints"][0]["labelSelector"],
        json!({"matchLabels": {"c": "3"}, "matchExpressions": [expression("a", "In", "1")]})
    );
    let terms =
        &made["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    assert_eq!(
        terms[0]["labelSelector"]["matchExpressions"],
        json!([expression("a", "In", "1"), expression("b", "NotIn", "2")])
    );
    assert_eq!(wrong::<Pod>(&made), Vec::<String>::new());
}

#[test]
fn a_key_stands_in_one_place() {
    let at = "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0]";
    assert_eq!(
            wrong::<Pod>(&pod(json!({"matchLabels": {"a": "3"}}), json!(["a"]))),
            [
                format!("{at}[0]: Invalid value: \"a\": exists in both matchLabelKeys and labelSelector"),
                "spec.topologySpreadConstraints[0][0]: Invalid value: \"a\": exists in both matchLabelKeys and labelSelector".to_owned(),
            ]
        );
    assert_eq!(
        wrong::<Pod>(&pod(json!({}), json!(["b"]))),
        [
            format!("{at}[0]: Invalid value: \"b\": exists in both matchLabelKeys and labelSelector"),
            format!(
                "{at}.matchLabelKeys[0]: Invalid value: \"b\": exists in both matchLabelKeys and mismatchLabelKeys"
            ),
        ]
    );
    assert_eq!(
        wrong::<Pod>(&pod(json!(null), json!(["b"])))[..2],
        [
            format!("{at}.matchLabelKeys: Forbidden: must not be specified when labelSelector is not set"),
            format!("{at}.mismatchLabelKeys: Forbidden: must not be specified when labelSelector is not set"),
        ]
    );
}
