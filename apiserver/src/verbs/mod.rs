//! What can be done with a resource: one file a verb, each generic over the kind.

pub mod binding;
pub mod component;
pub mod create;
pub mod delete;
pub mod eviction;
mod joined;
pub mod list;
pub mod read;
pub mod review;
pub mod scale;
pub mod token;
pub mod update;
pub mod watch;

use api::status::Status;
use http::{Response, StatusCode};

use crate::response::{self, Body};

/// The answer to whoever has posted what is no object of its own.
fn created() -> Response<Body> {
    let status = Status { status: "Success".into(), code: 201, ..Status::default() };
    response::json(StatusCode::CREATED, &status)
}
