//! Makes the objects that every cluster has again when somebody deletes them: `kubectl delete all --all` takes the
//! `kubernetes` service along, and with it what pods find the API server by.
//!
//! Upstream has a controller for each: `kubernetesservice`, `systemnamespaces`, and the bootstrap of flow control.

use std::sync::Arc;

use api::status::Status;

use super::Left;
use crate::{Api, bootstrap};

/// What is looked at.
pub const FOLLOWED: &[&str] = &[
    "/registry/namespaces/",
    "/registry/flowcontrol.apiserver.k8s.io/prioritylevelconfigurations/",
    "/registry/flowcontrol.apiserver.k8s.io/flowschemas/",
    "/registry/scheduling.k8s.io/priorityclasses/",
    "/registry/networking.k8s.io/servicecidrs/",
    "/registry/services/",
];

/// The server, and where the objects are.
pub type Subject = (Arc<Api>, Arc<[(&'static str, String)]>);

/// Everything that a look takes.
pub fn subject(api: &Arc<Api>) -> Subject {
    (api.clone(), bootstrap::places().into())
}

/// Makes what is missing. At the start of the server somebody else does.
pub async fn look((api, places): Subject) -> Result<Left, Status> {
    let is_missing = |(prefix, key): &(&str, String)| {
        api.cache.resource(prefix).is_none_or(|resource| resource.get(key).is_none())
    };
    if api.bootstrapped().is_err() || api.shutting_down() || !places.iter().any(is_missing) {
        return Ok(Left::Nothing);
    }
    bootstrap::run(&api).await?;
    // What is still being deleted is made once it is gone.
    Ok(Left::Something)
}
