#![allow(clippy::unwrap_used)]

use k8s_openapi::api::resource::v1::{DeviceClass, ResourceClaim, ResourceSlice};
use serde_json::{Value, json};

use crate::{
    builtin::testing::{cells, changed, made, wrong},
    kind::{Part, Rules, Typed},
};

fn claim(devices: &Value) -> Value {
    made::<ResourceClaim>(json!({"metadata": {"name": "c", "namespace": "n"}, "spec": {"devices": devices}}))
}

fn exactly(change: &Value) -> Value {
    let mut exactly = json!({"deviceClassName": "gpu.example.com"});
    json_patch::merge(&mut exactly, change);
    json!({"requests": [{"name": "r", "exactly": exactly}]})
}

#[test]
fn one_device_is_asked_for_unless_something_else_is_said() {
    let object = claim(&exactly(&json!({"tolerations": [{"key": "k"}]})));
    let wanted = &object["spec"]["devices"]["requests"][0]["exactly"];
    assert_eq!((&wanted["allocationMode"], &wanted["count"]), (&json!("ExactCount"), &json!(1)));
    assert_eq!(wanted["tolerations"][0]["operator"], "Equal");
    let all = claim(&exactly(&json!({"allocationMode": "All"})));
    assert_eq!(all["spec"]["devices"]["requests"][0]["exactly"].get("count"), None);
}

#[test]
fn what_is_wrong_with_claims_is_named() {
    for (devices, expected) in [
        (exactly(&json!({})), vec![]),
        (
            exactly(&json!({"deviceClassName": "", "count": -1, "selectors": [{"cel": {"expression": ""}}]})),
            vec![
                "spec.devices.requests[0].exactly.deviceClassName: Required value",
                "spec.devices.requests[0].exactly.selectors[0].cel.expression: Required value",
                "spec.devices.requests[0].exactly.count: Invalid value: -1: must be greater than zero",
            ],
        ),
        (
            json!({"requests": [{"name": "r"}, {"name": "r", "firstAvailable": [{"name": "s", "deviceClassName": "c", "allocationMode": "All", "count": 2}]}],
                "constraints": [{"requests": ["r/s", "r/t", "q"], "matchAttribute": "x"}], "config": [{"requests": ["r"]}]}),
            vec![
                "spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required",
                "spec.devices.requests[1]: Duplicate value: \"r\"",
                "spec.devices.requests[1].firstAvailable[0].count: Invalid value: 2: must not be specified when allocationMode is 'All'",
                "spec.devices.constraints[0].requests[1]: Invalid value: \"r/t\": must be the name of a request in the claim or the name of a request and a subrequest separated by '/'",
                "spec.devices.constraints[0].requests[2]: Invalid value: \"q\": must be the name of a request in the claim or the name of a request and a subrequest separated by '/'",
                "spec.devices.constraints[0].matchAttribute: Invalid value: \"x\": a fully qualified name must be a domain and a name separated by a slash",
                "spec.devices.config[0].opaque: Required value",
            ],
        ),
    ] {
        assert_eq!(wrong::<ResourceClaim>(&claim(&devices)), expected, "{devices}");
    }
    let old = claim(&exactly(&json!({})));
    let said = changed::<ResourceClaim>(&claim(&exactly(&json!({"count": 2}))), &old);
    assert!(
        said[0].starts_with("spec: Invalid value") && said[0].ends_with("field is immutable"),
        "{said:?}"
    );
}

#[test]
fn claims_are_pending_allocated_and_reserved() {
    let rules = Typed::<ResourceClaim>::RULES;
    let old = claim(&exactly(&json!({})));
    let state = |object: &Value| cells::<ResourceClaim>(object)[1].clone();
    assert_eq!(state(&old), "pending");
    let mut new = old.clone();
    new["status"] = json!({"reservedFor": [{"resource": "pods", "name": "p", "uid": "u"}]});
    let said: Vec<String> =
        rules.validate_update(&new, &old, Part::Status).errors.iter().map(ToString::to_string).collect();
    assert_eq!(said, ["status.reservedFor: Forbidden: may not be specified when `allocated` is not set"]);
    new["status"]["allocation"] = json!({"devices": {"results": []}});
    assert!(rules.validate_update(&new, &old, Part::Status).errors.is_empty());
    assert_eq!(state(&new), "allocated,reserved");
}

#[test]
fn slices_belong_somewhere() {
    let slice = |change: Value| {
        let mut spec = json!({"driver": "d.example.com", "nodeName": "n", "pool": {"name": "p", "generation": 0, "resourceSliceCount": 1}});
        json_patch::merge(&mut spec, &change);
        made::<ResourceSlice>(json!({"metadata": {"name": "s"}, "spec": spec}))
    };
    const ONE: &str =
        "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    for (change, expected) in [
        (json!({}), vec![]),
        (json!({"nodeName": null}), vec![format!("spec: Required value: {ONE}")]),
        (
            json!({"allNodes": true}),
            vec![format!(
                "spec: Invalid value: \"{{`nodeName`, `allNodes`}}\": {ONE}, but multiple fields are set"
            )],
        ),
        (
            json!({"driver": "", "pool": {"resourceSliceCount": 0}, "devices": [{"name": "a", "attributes": {"x": {}}}, {"name": "a"}]}),
            vec![
                "spec.driver: Required value".into(),
                "spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero".into(),
                "spec.devices[0].attributes[x]: Required value: exactly one value must be specified".into(),
                "spec.devices[1].name: Duplicate value: \"a\"".into(),
            ],
        ),
    ] {
        assert_eq!(wrong::<ResourceSlice>(&slice(change.clone())), expected, "{change}");
    }
    let said = changed::<ResourceSlice>(&slice(json!({"nodeName": "m"})), &slice(json!({})));
    assert_eq!(said, ["spec.nodeName: Invalid value: \"m\": field is immutable"]);
}

#[test]
fn classes_select_and_configure() {
    let class = |spec: Value| made::<DeviceClass>(json!({"metadata": {"name": "c"}, "spec": spec}));
    assert_eq!(wrong::<DeviceClass>(&class(json!({}))), [""; 0]);
    assert_eq!(
        wrong::<DeviceClass>(&class(
            json!({"selectors": [{}], "config": [{"opaque": {"driver": "d", "parameters": 1}}]})
        )),
        [
            "spec.selectors[0].cel: Required value",
            "spec.config[0].opaque.parameters: Invalid value: \"<value omitted>\": must be a valid JSON object",
        ]
    );
}
