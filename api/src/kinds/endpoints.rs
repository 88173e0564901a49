//! Endpoints: the addresses behind a service, in the old form.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Endpoints;
use serde_json::Value;

use crate::{
    kind::{Column, Strategy, cell},
    kinds::{
        cells::{first_three, int, list},
        defaults::{absent_when_zero, set_text},
    },
    object::ObjectExt,
};

/// The rules of Endpoints.
pub struct EndpointsRules;

impl Strategy for EndpointsRules {
    type Object = Endpoints;

    fn default(&self, endpoints: &mut Endpoints) {
        absent_when_zero(&mut endpoints.subsets);
        for subset in endpoints.subsets.iter_mut().flatten() {
            absent_when_zero(&mut subset.addresses);
            absent_when_zero(&mut subset.not_ready_addresses);
            absent_when_zero(&mut subset.ports);
            for port in subset.ports.iter_mut().flatten() {
                set_text(&mut port.protocol, "TCP");
                absent_when_zero(&mut port.name);
            }
        }
    }

    fn warnings(&self, _new: &Endpoints, _old: Option<&Endpoints>) -> Vec<String> {
        vec!["v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice".into()]
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column::name(),
            Column::new("Endpoints", "string", "The addresses that take traffic."),
            Column::age(),
        ]
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![cell::name(object), addresses(object).into(), cell::age(object, now)]
    }
}

fn addresses(object: &Value) -> String {
    let mut all = Vec::new();
    for subset in list(object, &["subsets"]) {
        let ips: Vec<&str> = list(subset, &["addresses"]).iter().map(|a| a.str_at(&["ip"])).collect();
        let ports = list(subset, &["ports"]);
        if ports.is_empty() {
            all.extend(ips.iter().map(|ip| (*ip).to_owned()));
        }
        for port in ports {
            let number = int(port, &["port"]);
            all.extend(ips.iter().map(|ip| {
                if ip.contains(':') { format!("[{ip}]:{number}") } else { format!("{ip}:{number}") }
            }));
        }
    }
    if all.is_empty() { "<none>".into() } else { first_three(&all) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_port_of_every_address_counts() {
        let ep = |subsets| addresses(&json!({"subsets": subsets}));
        assert_eq!(ep(json!([])), "<none>");
        assert_eq!(ep(json!([{"addresses": [{"ip": "10.0.0.1"}]}])), "10.0.0.1");
        assert_eq!(
            ep(
                json!([{"addresses": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}], "ports": [{"port": 1}, {"port": 2}]}])
            ),
            "10.0.0.1:1,[fd00::1]:1,10.0.0.1:2 + 1 more..."
        );
    }
}
