//! What ResourceClaims cost: the devices of each class that they may get at most.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::resource::v1::{DeviceRequest, ResourceClaim};

use super::{Amounts, Charged};
use crate::quantity::Quantity;

/// After the name of a device class.
pub const OF_CLASS: &str = ".deviceclass.resource.k8s.io/devices";
/// The most devices that one claim gets.
const MOST: i64 = 32;

impl Charged for ResourceClaim {
    fn usage(&self, _now: Timestamp) -> Amounts {
        let mut usage =
            Amounts::from([("count/resourceclaims.resource.k8s.io".to_owned(), Quantity::whole(1))]);
        for request in self.spec.devices.iter().flat_map(|devices| devices.requests.iter().flatten()) {
            for (class, most) in of_request(request) {
                *usage.entry(format!("{class}{OF_CLASS}")).or_default() += Quantity::whole(most);
            }
        }
        usage
    }
}

/// The most devices of each class that a request may get; of alternatives it gets one.
fn of_request(request: &DeviceRequest) -> BTreeMap<&str, i64> {
    let number = |mode: Option<&str>, count: Option<i64>| match mode {
        Some("All") => MOST,
        Some("ExactCount") => count.unwrap_or(0),
        _ => 0,
    };
    let exact = request.exactly.iter().map(|exact| {
        (exact.device_class_name.as_str(), number(exact.allocation_mode.as_deref(), exact.count))
    });
    let first = request
        .first_available
        .iter()
        .flatten()
        .map(|sub| (sub.device_class_name.as_str(), number(sub.allocation_mode.as_deref(), sub.count)));
    let mut most = BTreeMap::new();
    for (class, count) in exact.chain(first) {
        let known: &mut i64 = most.entry(class).or_default();
        *known = count.max(*known);
    }
    most
}
