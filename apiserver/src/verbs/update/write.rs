//! The loop that every change of an object goes through: read, make the new state, commit if nobody else wrote in
//! between.

use api::{object::ObjectExt as _, status::Status};
use bytes::Bytes;
use kinds::kind::Part;
use serde_json::Value;

use super::next_state;
use crate::{
    admission::Operation,
    auth::authorize::check_escalation,
    commit::{self, Outcome, Rider, Write},
    context::Ctx,
    query,
    store::{KeyValue, Revision},
    verbs::{MUTATED, Tracking, Written, delete, keep_owners_once},
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
    write_on(ctx, Terms::of(part, expected, Tracking::Update), change).await
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

/// How a change is made.
pub struct Terms<'a> {
    /// The part of the object that is written.
    pub part: Part<'a>,
    /// What the caller insists on.
    pub expected: Expected,
    /// Who keeps `managedFields`.
    pub tracking: Tracking,
    /// What of the object is changed and admitted.
    pub seen: Seen<'a>,
}

impl Terms<'_> {
    /// A change of the object that says who manages it, or that leaves that to the server.
    pub fn of(part: Part<'_>, expected: Expected, tracking: Tracking) -> Terms<'_> {
        Terms { part, expected, tracking, seen: Seen::Whole }
    }
}

/// What of an object is changed, and admitted as an update.
pub enum Seen<'a> {
    /// The object.
    Whole,
    /// What a subresource shows of it.
    Through(Lens<'a>),
    /// The object; what asked for the change was admitted in its stead.
    Admitted,
}

/// Shows a part of an object as an object of another kind, and puts a changed one back.
pub struct Lens<'a> {
    /// What is shown.
    pub show: &'a (dyn Fn(&Value) -> Value + Sync),
    /// The object with what is shown of it changed.
    pub put: &'a (dyn Fn(&Value, &Value) -> Result<Value, Status> + Sync),
}

/// [`write()`], on other terms.
///
/// # Errors
/// As [`write()`].
pub async fn write_on(
    ctx: &Ctx,
    terms: Terms<'_>,
    mut change: impl FnMut(&Value) -> Result<Value, Status> + Send,
) -> Result<Written, Status> {
    let mut current = Current::cached(ctx).await?;
    for _ in 0..TRIES {
        let mut old = ctx.loaded(&current.bytes, current.revision)?;
        let is_expected = terms.expected.revision.is_none_or(|revision| revision == current.revision);
        let wanted = match &terms.seen {
            _ if !is_expected => Err(ctx.modified(ctx.name())),
            Seen::Through(lens) => change(&(lens.show)(&old)),
            Seen::Whole | Seen::Admitted => change(&old),
        };
        let next = match wanted {
            Ok(wanted) => next_write(ctx, &terms, &mut old, current.revision, wanted).await,
            Err(refusal) => Err(refusal),
        };
        let (mut write, mut riders) = match next {
            // A refusal may come from a cache that lags: what the store holds decides.
            Err(refusal) => match current.changed(ctx).await? {
                Some(newer) => {
                    current = newer;
                    continue;
                }
                None => return Err(refusal),
            },
            Ok(next) => next,
        };
        if !write.ends && !write.dry_run && write.bytes()? == current.bytes {
            match current.changed(ctx).await? {
                Some(newer) => {
                    current = newer;
                    continue;
                }
                None if ctx.api.store.is_stale(&ctx.key(ctx.name())).await? => {}
                None => return Ok(Written::unstored(old)),
            }
        }
        match commit::commit(&mut write, &mut riders).await? {
            Outcome::Done(revision) => return Written::stored(write, revision),
            Outcome::Tried => return Ok(Written::unstored(write.new)),
            Outcome::Conflict(None) => return Err(ctx.not_found()),
            Outcome::Conflict(Some(present)) => current = Current::read(present),
        }
    }
    Err(ctx.modified(ctx.name()))
}

/// Makes the write of what is wanted in the place of `old`, through admission and the kind's rules.
async fn next_write<'a>(
    ctx: &'a Ctx,
    terms: &Terms<'_>,
    old: &'a mut Value,
    revision: Revision,
    wanted: Value,
) -> Result<(Write<'a>, Vec<Box<dyn Rider>>), Status> {
    let Terms { part, expected, tracking, seen } = terms;
    let (steps, tracking) = (&ctx.api.admission, *tracking);
    let new = match seen {
        Seen::Through(lens) => {
            let (shown, mut wanted) = ((lens.show)(old), wanted);
            steps.mutate(&mut Operation::update(ctx, &shown, &mut wanted)).await?;
            next_state::wanted(ctx, expected, tracking, old, (lens.put)(old, &wanted)?)?
        }
        Seen::Whole => {
            let mut wanted = next_state::wanted(ctx, expected, tracking, old, wanted)?;
            steps.mutate(&mut Operation::update(ctx, old, &mut wanted)).await?;
            keep_owners_once(ctx, &mut wanted, MUTATED);
            check_escalation(ctx, Some(old), &wanted).await?;
            wanted
        }
        Seen::Admitted => next_state::wanted(ctx, expected, tracking, old, wanted)?,
    };
    let new = next_state::next_state(ctx, *part, tracking, old, new)?;
    let old: &'a Value = old;
    let mut write = Write::update(ctx, old, revision, new);
    write.ends = delete::is_finished(&ctx.kind, &write.new);
    let riders = commit::riders(&mut write).await?;
    match seen {
        Seen::Through(lens) => {
            let (shown, mut new) = ((lens.show)(old), (lens.show)(&write.new));
            steps.validate(&Operation::update(ctx, &shown, &mut new)).await?;
        }
        Seen::Whole => steps.validate(&Operation::update(ctx, old, &mut write.new)).await?,
        Seen::Admitted => {}
    }
    Ok((write, riders))
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
        found.map(Self::read).ok_or_else(|| ctx.not_found())
    }

    fn read(found: KeyValue) -> Self {
        Self { bytes: found.value, revision: found.revision, verified: true }
    }

    /// The state that the store holds, if it is another one.
    async fn changed(&self, ctx: &Ctx) -> Result<Option<Self>, Status> {
        if self.verified {
            return Ok(None);
        }
        let stored = Self::stored(ctx).await?;
        Ok(Some(stored).filter(|stored| stored.revision != self.revision))
    }
}
