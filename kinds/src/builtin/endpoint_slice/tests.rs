#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;
use crate::kind::{Rules, Typed};

fn slice(fields: Value) -> Value {
    let mut slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": "s", "generation": 1}, "addressType": "IPv4", "endpoints": []});
    json_patch::merge(&mut slice, &fields);
    Typed::<EndpointSlice>::RULES.default(slice).unwrap()
}

#[test]
fn addresses_are_of_the_slices_type() {
    let found = Typed::<EndpointSlice>::RULES.validate(&slice(json!({
            "endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": ["fd00::1"]}, {"addresses": []}, {"addresses": ["127.0.0.1"]}],
            "ports": [{"port": 80}, {"port": 0, "name": "x", "protocol": "GRE"}, {}]})));
    let said: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "ports[1].protocol: Unsupported value: \"GRE\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
            "ports[2].name: Duplicate value: \"\"",
            "endpoints[1].addresses: Invalid value: \"fd00::1\": must be an IPv4 address",
            "endpoints[2].addresses: Required value: must contain at least 1 address",
            "endpoints[3].addresses[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
        ]
    );
}

#[test]
fn what_is_special_is_refused_in_every_dress() {
    let found = Typed::<EndpointSlice>::RULES.validate(&slice(json!({"addressType": "IPv6",
            "endpoints": [{"addresses": ["fd00::1", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "fe80::1"]}]})));
    let said: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
    let mapped = "must not be an IPv4-mapped IPv6 address";
    let at = |i: usize, text: &str, why: &str| {
        format!("endpoints[0].addresses[{i}]: Invalid value: {text:?}: {why}")
    };
    assert_eq!(
        said,
        [
            at(1, "::1", "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
            at(2, "::ffff:127.0.0.1", mapped),
            at(3, "::ffff:10.0.0.1", mapped),
            at(4, "fe80::1", "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        ]
    );
}

#[test]
fn every_change_but_of_annotations_counts() {
    let old = slice(json!({}));
    let mut same = slice(json!({"metadata": {"annotations": {"a": "b"}}}));
    Typed::<EndpointSlice>::RULES.prepare_update(&mut same, &old, Part::Main);
    assert_eq!(same["metadata"]["generation"], 1);
    let mut more = slice(json!({"endpoints": [{"addresses": ["10.0.0.1"]}]}));
    Typed::<EndpointSlice>::RULES.prepare_update(&mut more, &old, Part::Main);
    assert_eq!(more["metadata"]["generation"], 2);
}

#[test]
fn hints_are_few_and_ports_any_number() {
    let hints = |hints: Value| json!({"ports": [{"port": -1}], "endpoints": [{"addresses": ["10.0.0.1"], "hints": hints}]});
    let named = |names: &[&str]| -> Value { names.iter().map(|name| json!({"name": name})).collect() };
    let at = "endpoints[0].hints";
    for (given, expected) in [
        (json!({"forZones": named(&[""]), "forNodes": named(&["n"])}), vec![]),
        (
            json!({"forZones": named(&["z", "z"]), "forNodes": named(&[""])}),
            vec![format!("{at}.forZones[1].name"), format!("{at}.forNodes[0].name")],
        ),
        (json!({"forZones": named(&["z"; 9]), "forNodes": named(&[""])}), vec![format!("{at}.forZones")]),
        (json!({"forNodes": named(&["n"; 9])}), vec![format!("{at}.forNodes")]),
    ] {
        let found = Typed::<EndpointSlice>::RULES.validate(&slice(hints(given.clone())));
        let fields: Vec<&str> = found.errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, expected, "{given}");
    }
}

#[test]
fn endpoints_that_were_taken_may_stay() {
    let old = slice(json!({"endpoints": [{"addresses": []}]}));
    let mut new = old.clone();
    new["ports"] = json!([{"name": "", "protocol": "X"}]);
    let found = Typed::<EndpointSlice>::RULES.validate_update(&new, &old, Part::Main);
    let fields: Vec<&str> = found.errors.iter().map(|error| error.field.as_str()).collect();
    assert_eq!(fields, ["ports[0].protocol"]);
}
