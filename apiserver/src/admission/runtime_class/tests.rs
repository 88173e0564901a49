use super::*;

#[test]
fn a_class_adds_its_cost_and_its_place() {
    let class = json!({"overhead": {"podFixed": {"cpu": "1m"}}, "scheduling": {
        "nodeSelector": {"a": "b"}, "tolerations": [{"key": "k"}]}});
    let mut pod = json!({"spec": {"nodeSelector": {"c": "d"}, "tolerations": [{"key": "k"}]}});
    assert_eq!(merge(Some(&class), &mut pod), Ok(()));
    assert_eq!(
        pod["spec"],
        json!({"overhead": {"cpu": "1m"}, "nodeSelector": {"a": "b", "c": "d"}, "tolerations": [{"key": "k"}]})
    );
    for (class, spec, why) in [
        (Some(&class), json!({"overhead": {"cpu": "2m"}}), "Overhead doesn't match"),
        (
            Some(&class),
            json!({"nodeSelector": {"a": "x"}}),
            "conflict: runtimeClass.scheduling.nodeSelector[a] = b",
        ),
        (None, json!({"overhead": {"cpu": "2m"}}), "without corresponding RuntimeClass"),
    ] {
        let said = merge(class, &mut json!({ "spec": spec }));
        assert!(said.as_ref().is_err_and(|e| e.contains(why)), "{said:?}");
    }
}
