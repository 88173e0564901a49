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

use api::{object::ObjectExt as _, status::Status};
use bytes::Bytes;
use http::{Response, StatusCode};
use kinds::apply;
use serde_json::Value;

use crate::{
    commit::Write,
    context::Ctx,
    response::{self, Body},
    store::Revision,
    watch_cache::shown_at,
};

/// What a write came to.
#[derive(Debug)]
pub struct Written {
    /// The object as it is now; or its last state, if it was waiting for its last finalizer and is gone now.
    pub object: Value,
    /// The bytes it is stored as, or would be if it were not gone now, and the revision of the write, if there was one.
    stored: Option<(Bytes, Revision)>,
}

impl Written {
    /// An object that nothing had to be stored for.
    fn unstored(object: Value) -> Self {
        Self { object, stored: None }
    }

    /// An object that was stored at this revision.
    fn stored(mut write: Write<'_>, revision: Revision) -> Result<Self, Status> {
        let bytes = write.bytes()?;
        let mut object = write.new;
        object.set_meta("resourceVersion", revision.to_string());
        Ok(Self { object, stored: Some((bytes, revision)) })
    }

    /// The answer to whoever asked for the write.
    pub fn answer(self, ctx: &Ctx, code: StatusCode) -> Response<Body> {
        // Written once already, unless another form or version of it is asked for.
        let stored = self.stored.filter(|_| ctx.accept.plain() && ctx.kind.is_stored_form());
        let shown = stored.and_then(|(bytes, revision)| shown_at(&bytes, revision));
        match shown {
            Some(bytes) => response::json_bytes(code, bytes),
            // What another version is stored as may lose fields and gain defaults.
            None if ctx.kind.is_custom() && !ctx.kind.is_stored_form() => {
                ctx.answer(code, &ctx.kind.own_form(ctx.kind.stored_form(self.object)))
            }
            None => ctx.answer(code, &self.object),
        }
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
        now: machinery::clock::now(),
    }
}

/// Keeps each owner of an object once, and warns of those that are named again. `when`: what has happened before.
fn keep_owners_once(ctx: &Ctx, object: &mut Value, when: &str) {
    let doubled = api::validation::distinct_owners(object);
    if !doubled.is_empty() {
        ctx.warnings.add([format!(
            ".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
            doubled.join(", ")
        )]);
    }
}

/// What may have doubled the owners of an object that has been read.
const MUTATED: &str = " after mutating admission happens";

/// The answer to whoever has posted what is no object of its own.
fn created() -> Response<Body> {
    let status = Status { status: "Success".into(), code: 201, ..Status::default() };
    response::json(StatusCode::CREATED, &status)
}
