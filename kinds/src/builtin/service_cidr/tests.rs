use serde_json::json;

use super::*;
use crate::builtin::testing::{changed, made, wrong};

fn range(cidrs: Value) -> Value {
    made::<ServiceCIDR>(json!({"metadata": {"name": "r"}, "spec": {"cidrs": cidrs}}))
}

#[test]
fn one_range_of_each_family() {
    for (cidrs, expected) in [
        (json!(["10.0.0.0/8"]), vec![]),
        (json!(["10.0.0.0/8", "fd00::/64"]), vec![]),
        (json!([]), vec!["spec.cidrs: Required value: at least one CIDR required"]),
        (
            json!(["10.0.0.0/8", "11.0.0.0/8"]),
            vec![
                "spec.cidrs: Invalid value: [\"10.0.0.0/8\",\"11.0.0.0/8\"]: may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64",
            ],
        ),
        (json!(["10/8"]), vec!["spec.cidrs[0]: Invalid value: \"10/8\": must be a valid CIDR value,"]),
    ] {
        assert_eq!(wrong::<ServiceCIDR>(&range(cidrs.clone())), expected, "{cidrs}");
    }
}

#[test]
fn ranges_stay_and_a_family_may_be_added() {
    let old = range(json!(["10.0.0.0/8"]));
    assert_eq!(changed::<ServiceCIDR>(&range(json!(["10.0.0.0/8", "fd00::/64"])), &old), [""; 0]);
    assert_eq!(
        changed::<ServiceCIDR>(&range(json!(["11.0.0.0/8"])), &old),
        ["spec.cidrs[0]: Invalid value: \"11.0.0.0/8\": field is immutable"]
    );
    assert_eq!(
        changed::<ServiceCIDR>(&range(json!([])), &old),
        ["spec.cidrs: Invalid value: []: field is immutable"]
    );
}
