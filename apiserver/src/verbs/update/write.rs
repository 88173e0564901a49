//! The loop that every change of an object goes through: read, make the new state, commit if nobody else wrote in
//! between.

use api::{object::ObjectExt as _, status::Status};
use bytes::Bytes;
use kinds::kind::Part;
use serde_json::Value;

use super::next_state::next_state;
use crate::{
    allocate,
    context::Ctx,
    query,
    store::{Committed, Op, Revision},
    verbs::{Tracking, Written, delete},
};

/// How often a change is tried on a new state when others write in between, as upstream tries a patch.
const TRIES: usize = 100;

/// What a write insists on.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    /// The object must be the one with this uid.
    pub uid: Option<String>,
    /// The object must not have changed since.
    pub revision: Option<Revision>,
}

impl Expected {
    /// What the metadata of a sent object insists on.
    ///
    /// # Errors
    /// 400 for a resource version that is no number.
    pub fn of(object: &Value) -> Result<Self, Status> {
        let uid = Some(object.uid()).filter(|u| !u.is_empty()).map(str::to_owned);
        let revision = match object.resource_version() {
            "" | "0" => None,
            v => Some(query::parse_revision(v)?),
        };
        Ok(Self { uid, revision })
    }
}

/// Changes an object: reads it, lets `change` make the new state from the present one, checks the result
/// and stores it, again and again until nobody else wrote in between.
///
/// # Errors
/// Those of `change`, and as [`super::update`].
pub async fn write(
    ctx: &Ctx,
    part: Part<'_>,
    expected: Expected,
    change: impl FnMut(&Value) -> Result<Value, Status> + Send,
) -> Result<Written, Status> {
    write_with(ctx, part, expected, Tracking::Update, change).await
}

/// [`write()`], for callers that change the present state in its place.
///
/// # Errors
/// As [`write()`].
pub async fn edit(
    ctx: &Ctx,
    part: Part<'_>,
    expected: Expected,
    mut change: impl FnMut(&mut Value) + Send,
) -> Result<Written, Status> {
    let change = |current: &Value| {
        let mut new = current.clone();
        change(&mut new);
        Ok(new)
    };
    write(ctx, part, expected, change).await
}

/// [`write()`], for callers that keep `managedFields` themselves.
///
/// # Errors
/// As [`write()`].
pub async fn write_with(
    ctx: &Ctx,
    part: Part<'_>,
    expected: Expected,
    tracking: Tracking,
    mut change: impl FnMut(&Value) -> Result<Value, Status> + Send,
) -> Result<Written, Status> {
    let kind = &ctx.kind;
    let mut current = Current::cached(ctx).await?;
    for _ in 0..TRIES {
        let mut old = ctx.loaded(&current.bytes, current.revision)?;
        let is_expected = expected.revision.is_none_or(|revision| revision == current.revision);
        let wanted = if is_expected { change(&old) } else { Err(ctx.modified(ctx.name())) };
        let step = wanted.and_then(|new| next_state(ctx, part, &expected, tracking, &mut old, new));
        let (mut new, warnings) = match step {
            // A refusal may come from a cache that lags: what the store holds decides.
            Err(_) if !current.verified => {
                current = Current::stored(ctx).await?;
                continue;
            }
            other => other?,
        };
        let mut allocation = allocate::Allocation::new(ctx, &mut new, Some(&old)).await?;
        let finished = delete::is_finished(kind, &new);
        let bytes = ctx.stored(&new)?;
        if !finished && !ctx.query.dry_run && bytes == current.bytes {
            if current.verified {
                return Ok(Written::unstored(old, warnings));
            }
            current = Current::stored(ctx).await?;
            continue;
        }
        if finished {
            allocation.release(ctx, &old).await?;
        }
        if ctx.query.dry_run {
            return Ok(Written::unstored(new, warnings));
        }
        match commit(ctx, &current, &mut new, bytes.into(), finished, &mut allocation).await? {
            Ok((bytes, revision)) => return Ok(Written::stored(new, bytes, revision, warnings)),
            Err(present) => current = present,
        }
    }
    Err(ctx.modified(ctx.name()))
}

/// Stores a new state, given also as bytes, or the object's end, together with the addresses that it takes and gives
/// back. Answers what was stored and its revision; or the present state, when somebody else wrote in between.
async fn commit(
    ctx: &Ctx,
    current: &Current,
    new: &mut Value,
    mut bytes: Bytes,
    finished: bool,
    allocation: &mut allocate::Allocation,
) -> Result<Result<(Bytes, Revision), Current>, Status> {
    let key = ctx.key(ctx.name());
    loop {
        let first = if finished {
            Op::delete(key.clone(), current.revision)
        } else {
            Op::update(key.clone(), current.revision, bytes.clone())
        };
        let mut ops = vec![first];
        ops.extend(allocation.ops());
        match ctx.api.store.commit(ops).await? {
            Committed::Done(revision) => return Ok(Ok((bytes, revision))),
            Committed::Conflict { index: 0, current: Some(now) } => {
                return Ok(Err(Current { bytes: now.value, revision: now.revision, verified: true }));
            }
            Committed::Conflict { index: 0, current: None } => return Err(ctx.not_found()),
            // An address that seemed free was taken meanwhile: pick again, or say so when it was asked for.
            Committed::Conflict { index, .. } => allocation.taken(ctx, index - 1, new).await?,
        }
        bytes = ctx.stored(new)?.into();
    }
}

/// The present state of the object a write starts from.
struct Current {
    bytes: Bytes,
    revision: Revision,
    /// Read from the store, not from a cache that may lag.
    verified: bool,
}

impl Current {
    async fn cached(ctx: &Ctx) -> Result<Self, Status> {
        match ctx.resource.get(&ctx.cache_key(ctx.name())) {
            Some(object) => Ok(Self { bytes: object.stored(), revision: object.revision(), verified: false }),
            None => Self::stored(ctx).await,
        }
    }

    async fn stored(ctx: &Ctx) -> Result<Self, Status> {
        let found = ctx.api.store.get(&ctx.key(ctx.name())).await?;
        let found = found.ok_or_else(|| ctx.not_found())?;
        Ok(Self { bytes: found.value, revision: found.revision, verified: true })
    }
}
