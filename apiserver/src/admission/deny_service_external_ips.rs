//! Services get no external addresses that they do not have: whoever may make one could take traffic for any address
//! (CVE-2020-8554). Off unless asked for.

use std::collections::HashSet;

use api::{object::ObjectExt as _, status::Status};
use async_trait::async_trait;
use serde_json::Value;

use super::{Operation, Step, Verb};
use crate::resources::SERVICES;

/// The step.
pub struct DenyServiceExternalIPs;

#[async_trait]
impl Step for DenyServiceExternalIPs {
    fn handles(&self, operation: &Operation<'_>) -> bool {
        matches!(operation.verb, Verb::Create | Verb::Update) && operation.is_of(SERVICES)
    }

    async fn validate(&self, operation: &Operation<'_>) -> Result<(), Status> {
        match gains(operation.old, operation.new.as_deref()) {
            true => Err(operation.forbidden("Use of external IPs is denied by admission control")),
            false => Ok(()),
        }
    }
}

/// Whether a service has an address that it had not.
pub fn gains(old: Option<&Value>, new: Option<&Value>) -> bool {
    let had: HashSet<&str> = addresses(old).collect();
    addresses(new).any(|address| !had.contains(address))
}

fn addresses(service: Option<&Value>) -> impl Iterator<Item = &str> {
    let all = service.and_then(|service| service.at(&["spec", "externalIPs"])?.as_array());
    all.into_iter().flatten().filter_map(Value::as_str)
}
