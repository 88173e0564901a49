//! API services that this server answers itself are available.

use api::{conditions, object::ObjectExt as _};
use serde_json::Value;

use crate::stamp::now;

/// Says of a local API service that it is available, which it is from the beginning.
pub fn tell(object: &mut Value) {
    if object.at(&["spec", "service"]).is_none_or(Value::is_null) {
        let why = "Local APIServices are always available";
        conditions::set_in(object, conditions::told("Available", true, "Local", why, &now()));
    }
}
