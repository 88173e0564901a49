//! What can be done with a resource: one file a verb, each generic over the kind; and what all writes share.

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

use api::{apply, status::Status};
use http::{Response, StatusCode};
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    context::Ctx,
    response::{self, Body},
};

/// What a write came to.
#[derive(Debug)]
pub struct Written {
    /// The object as it is now; or its last state, if it was waiting for its last finalizer and is gone now.
    pub object: Value,
    /// What was allowed but unwise.
    pub warnings: Vec<String>,
}

impl Written {
    /// The answer to whoever asked for the write, with what there is to warn of besides.
    pub fn answer(self, ctx: &Ctx, code: StatusCode, mut warnings: Vec<String>) -> Response<Body> {
        warnings.extend(self.warnings);
        let mut response = ctx.answer(code, &self.object);
        response::warn(&mut response, &warnings);
        response
    }
}

/// Whether `managedFields` are still to be kept up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tracking {
    /// The change is an ordinary update.
    Update,
    /// The change came with its own.
    Done,
}

/// Whose changes `managedFields` records, and for which part.
pub fn apply_options(ctx: &Ctx) -> apply::Options<'_> {
    apply::Options {
        manager: ctx.field_manager(),
        force: ctx.query.force.unwrap_or(false),
        subresource: ctx.path.subresource.as_deref().unwrap_or(""),
        status_leaves: ctx.kind.status_leaves,
        api_version: ctx.kind.api_version(),
        now: Timestamp::now(),
    }
}

/// The answer to whoever has posted what is no object of its own.
fn created() -> Response<Body> {
    let status = Status { status: "Success".into(), code: 201, ..Status::default() };
    response::json(StatusCode::CREATED, &status)
}
