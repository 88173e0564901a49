//! The one way in which an object is stored, and what may ride along in its transaction.
//!
//! Either the object and all that its riders add are written at one revision, or nothing is. A rider is asked for its
//! operations anew for each attempt, so what it read from the store may have changed in between: the store says so, and
//! the rider picks again, refuses, or lets itself be asked once more.

use api::{object::ObjectExt as _, status::Status};
use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;

use crate::{
    allocate,
    context::Ctx,
    quota,
    store::{Committed, Expect, KeyValue, Op, Revision},
};

/// How often a write is tried while others are in the way of its riders.
const TRIES: usize = 100;

/// A write of one object.
pub struct Write<'a> {
    /// The request.
    pub ctx: &'a Ctx,
    /// The object as it is, but for a new one.
    pub old: Option<&'a Value>,
    /// The object as it is to be; the last state of one that goes for good.
    pub new: Value,
    /// Whether the object goes for good.
    pub ends: bool,
    /// Whether nothing is to be stored.
    pub dry_run: bool,
    key: String,
    expect: Expect,
    /// What is stored for `new`, once that has been made.
    bytes: Option<Bytes>,
}

impl<'a> Write<'a> {
    /// A new object.
    pub fn create(ctx: &'a Ctx, new: Value) -> Self {
        let (key, dry_run) = (ctx.key(new.name()), ctx.query.dry_run);
        Self { ctx, old: None, new, ends: false, dry_run, key, expect: Expect::Absent, bytes: None }
    }

    /// An object in the place of `old`, which was written at that revision.
    pub fn update(ctx: &'a Ctx, old: &'a Value, revision: Revision, new: Value) -> Self {
        let key = ctx.key(old.name());
        Self { old: Some(old), key, expect: Expect::Revision(revision), ..Self::create(ctx, new) }
    }

    /// What is stored for the object.
    ///
    /// # Errors
    /// 500.
    pub fn bytes(&mut self) -> Result<Bytes, Status> {
        if let Some(bytes) = &self.bytes {
            return Ok(bytes.clone());
        }
        let bytes = Bytes::from(self.ctx.stored(&self.new)?);
        self.bytes = Some(bytes.clone());
        Ok(bytes)
    }

    fn op(&mut self) -> Result<Op, Status> {
        let value = if self.ends { None } else { Some(self.bytes()?) };
        Ok(Op { key: self.key.clone(), expect: self.expect, value })
    }

    /// What a commit would have come to, as far as the object itself goes.
    async fn tried(&self) -> Result<Outcome, Status> {
        let current = self.ctx.api.store.get(&self.key).await?;
        let holds = match self.expect {
            Expect::Absent => current.is_none(),
            Expect::Revision(revision) => current.as_ref().is_some_and(|found| found.revision == revision),
        };
        Ok(if holds { Outcome::Tried } else { Outcome::Conflict(current) })
    }
}

/// What writes something else together with an object.
#[async_trait]
pub trait Rider: Send {
    /// Completes the object with what it is going to have, before validating admission sees it.
    async fn choose(&mut self, _write: &mut Write<'_>) -> Result<(), Status> {
        Ok(())
    }

    /// What goes into the object's transaction, read from the store and not from caches; or a refusal. Also asked for a
    /// dry run, of which nothing is carried out.
    async fn operations(&mut self, write: &Write<'_>) -> Result<Vec<Op>, Status>;

    /// What operation `index` of its last ones expected did not hold, and nothing was written. Unless the rider refuses,
    /// it is asked for operations again; it may change the object before.
    async fn conflict(&mut self, _write: &mut Write<'_>, _index: usize) -> Result<(), Status> {
        Ok(())
    }

    /// All was written at this revision, its last operations too.
    fn done(&mut self, _revision: Revision) {}
}

/// The rider of a write, if one has to do with it.
type Finder = fn(&Write<'_>) -> Option<Box<dyn Rider>>;

/// All riders, each for the writes that it has to do with.
const RIDERS: &[Finder] = &[allocate::rider, quota::rider];

/// The riders of a write, after they have chosen.
///
/// # Errors
/// The refusal of one.
pub async fn riders(write: &mut Write<'_>) -> Result<Vec<Box<dyn Rider>>, Status> {
    let mut riders: Vec<_> = RIDERS.iter().filter_map(|rider| rider(write)).collect();
    for rider in &mut riders {
        rider.choose(write).await?;
    }
    Ok(riders)
}

/// How a commit ended, unless it was refused.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    /// All was written at this revision.
    Done(Revision),
    /// All could have been written, but it was a dry run.
    Tried,
    /// The object is not as it was thought to be, but so.
    Conflict(Option<KeyValue>),
}

/// Stores an object with what rides along.
///
/// # Errors
/// The refusal of a rider, 409 when there is no end of others who are in its way, and those of the store.
pub async fn commit(write: &mut Write<'_>, riders: &mut [Box<dyn Rider>]) -> Result<Outcome, Status> {
    for _ in 0..TRIES {
        let mut ops = vec![write.op()?];
        let mut begins = Vec::with_capacity(riders.len());
        for rider in riders.iter_mut() {
            begins.push(ops.len());
            ops.extend(rider.operations(write).await?);
        }
        if write.dry_run {
            return write.tried().await;
        }
        match write.ctx.api.store.commit(ops).await? {
            Committed::Done(revision) => {
                riders.iter_mut().for_each(|rider| rider.done(revision));
                return Ok(Outcome::Done(revision));
            }
            Committed::Conflict { index, current } => {
                let rider = begins.partition_point(|begin| *begin <= index).checked_sub(1);
                let Some(rider) = rider else { return Ok(Outcome::Conflict(current)) };
                write.bytes = None;
                riders[rider].conflict(write, index - begins[rider]).await?;
            }
        }
    }
    Err(write.ctx.modified(write.new.name()))
}

#[cfg(test)]
mod tests;
