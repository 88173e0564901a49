//! API services that this server answers itself are available. Upstream does this in the strategy of the kind.

use api::{conditions, object::ObjectExt as _};
use serde_json::Value;

use crate::{context::Ctx, resources::API_SERVICES, stamp::now};

/// A local API service is available from the beginning.
pub fn create(ctx: &Ctx, object: &mut Value) {
    if API_SERVICES.is(&ctx.kind) && object.at(&["spec", "service"]).is_none_or(Value::is_null) {
        let why = "Local APIServices are always available";
        conditions::set_in(object, conditions::told("Available", true, "Local", why, &now()));
    }
}
