//! Makes the objects that every cluster has again when somebody deletes them: `kubectl delete all --all` takes the
//! `kubernetes` service along, and with it what pods find the API server by.
//!
//! Upstream has a controller for each: `kubernetesservice`, `systemnamespaces`, and the bootstrap of flow control.

use std::sync::Arc;

use api::{object::ObjectExt as _, status::Status};

use super::Left;
use crate::{Api, bootstrap, resources::BuiltIn};

/// Where objects are: resources and keys.
pub type Places = Arc<[(BuiltIn, String)]>;

/// Where the objects are that every cluster has.
pub fn places(api: &Api) -> Places {
    bootstrap::objects(api).into_iter().map(|(resource, object)| (resource, object.key())).collect()
}

/// Makes what is missing. At the start of the server somebody else does.
pub async fn look((api, places): (Arc<Api>, Places)) -> Result<Left, Status> {
    let is_missing = |(resource, key): &(BuiltIn, String)| api.cached(*resource, key).is_none();
    if api.bootstrapped().is_err() || api.shutting_down() || !places.iter().any(is_missing) {
        return Ok(Left::Nothing);
    }
    bootstrap::run(&api).await?;
    // What is still being deleted is made once it is gone.
    Ok(Left::Something)
}
