//! Delete and deletecollection: grace periods, finalizers, propagation. Whether an object may go is decided
//! here and nowhere else ([`is_finished`]).

use api::{
    field::{Errors, Path},
    object::ObjectExt as _,
    status::{Details, Status},
};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use http::{Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use kinds::kind::{Dependents, Kind};
use serde::Deserialize;
use serde_json::Value;

use super::list;
use crate::{
    admission::Operation,
    body,
    commit::{self, Outcome, Write},
    context::Ctx,
    query::Query,
    response::{self, Body},
    store::KeyValue,
};

/// Deletions of a collection that are under way at a time.
const PARALLEL: usize = 16;
/// How often a deletion starts over when others write the object in between.
const TRIES: usize = 100;

/// The finalizers by which the garbage collector is told what to do with dependents.
const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";
const IGNORE_READ_ERROR: &str = "ignoreStoreReadErrorWithClusterBreakingPotential";

/// `meta.k8s.io/v1 DeleteOptions`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeleteOptions {
    /// Seconds the object is given; 0 is at once.
    pub grace_period_seconds: Option<i64>,
    /// What must hold of the object.
    pub preconditions: Option<Preconditions>,
    /// `Foreground`, `Background` or `Orphan`.
    pub propagation_policy: Option<String>,
    /// The older form of the same.
    pub orphan_dependents: Option<bool>,
    /// `["All"]`
    pub dry_run: Option<Vec<String>>,
    /// Deletes what cannot be decoded; never allowed here. Upstream ignores it where its gate is off.
    pub ignore_store_read_error_with_cluster_breaking_potential: Option<bool>,
}

/// What must hold of the object to be deleted.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Preconditions {
    /// Its uid.
    pub uid: Option<String>,
    /// Its resource version.
    pub resource_version: Option<String>,
}

impl DeleteOptions {
    /// The options of a request: its body, else its query.
    ///
    /// # Errors
    /// 400 for a malformed body, 422 for options that contradict each other.
    pub fn of(ctx: &Ctx, bytes: &[u8]) -> Result<Self, Status> {
        let options = if bytes.is_empty() {
            Self::of_query(&ctx.query)
        } else {
            let value = body::parse(&ctx.media, bytes, "DeleteOptions")?;
            ctx.trail.was_sent(&value);
            check_type(ctx, &value)?;
            serde_json::from_value(value).map_err(|e| Status::bad_request(e.to_string()))?
        };
        options.check()?;
        Ok(options)
    }

    fn of_query(query: &Query) -> Self {
        let text = |name| query.all.get(name).filter(|value| !value.is_empty()).map(str::to_owned);
        let wanted = Preconditions { uid: text("uid"), resource_version: text("resourceVersion") };
        Self {
            grace_period_seconds: query.grace_period,
            preconditions: Some(wanted),
            propagation_policy: query.propagation.clone(),
            orphan_dependents: query.orphan_dependents,
            dry_run: None,
            ignore_store_read_error_with_cluster_breaking_potential: text(IGNORE_READ_ERROR)
                .map(|said| !matches!(said.as_str(), "0" | "false")),
        }
    }

    /// Refuses options that say what is not known, or contradict each other.
    ///
    /// # Errors
    /// 422.
    pub fn check(&self) -> Result<(), Status> {
        let mut errors = Errors::default();
        let at = Path::new("propagationPolicy");
        if let Some(policy) = &self.propagation_policy {
            if self.orphan_dependents.is_some() {
                errors.invalid(&at, policy, "orphanDependents and deletionPropagation cannot be both set");
            }
            if !matches!(policy.as_str(), "Foreground" | "Background" | "Orphan" | "") {
                errors.not_supported(&at, policy, &["Foreground", "Background", "Orphan", "nil"]);
            }
        }
        for value in self.dry_run.iter().flatten().filter(|v| *v != "All") {
            errors.not_supported(&Path::new("dryRun"), [value], &["All"]);
        }
        if self.ignore_store_read_error_with_cluster_breaking_potential == Some(true) {
            let why = "deleting objects that cannot be read is not supported";
            errors.forbidden(&Path::new(IGNORE_READ_ERROR), why);
        }
        if errors.is_empty() { Ok(()) } else { Err(Status::invalid_options("DeleteOptions", &errors)) }
    }

    /// Whether nothing is to be stored. Upstream does not look at the query when there is a body; here nobody's objects
    /// go whose owner said `dryRun` anywhere.
    pub fn is_dry_run(&self, ctx: &Ctx) -> bool {
        ctx.query.dry_run || self.dry_run.as_ref().is_some_and(|d| !d.is_empty())
    }

    /// The finalizer through which the garbage collector is told what to do with dependents: as asked for, else as
    /// the object already says, else as its kind has it.
    fn finalizer(&self, kind: &Kind, object: &Value) -> Option<&'static str> {
        let default = match kind.facts.dependents {
            Dependents::None => return None,
            Dependents::Orphaned => Some(ORPHAN),
            Dependents::Collected => None,
        };
        match (self.orphan_dependents, self.propagation_policy.as_deref()) {
            (Some(orphan), _) => orphan.then_some(ORPHAN),
            (None, Some("Foreground")) => Some(FOREGROUND),
            (None, Some("Orphan")) => Some(ORPHAN),
            (None, Some("Background")) => None,
            _ => {
                let present = object.finalizers();
                [ORPHAN, FOREGROUND].into_iter().find(|f| present.contains(f)).or(default)
            }
        }
    }

    /// What the caller is warned of who does not say what becomes of dependents.
    fn warning(&self, kind: &Kind) -> Option<String> {
        let says = self.propagation_policy.is_some() || self.orphan_dependents.is_some();
        kind.facts.deletion_warning.filter(|_| !says).map(str::to_owned)
    }
}

/// Options may name themselves as those of any version that has such, as clients of old do.
fn check_type(ctx: &Ctx, value: &Value) -> Result<(), Status> {
    let (version, kind) = (value.str_at(&["apiVersion"]), value.str_at(&["kind"]));
    let known = matches!(version, "" | "v1" | "meta.k8s.io/v1")
        || ctx.api.table().kinds().iter().any(|k| k.api_version() == version);
    if matches!(kind, "" | "DeleteOptions") && known {
        return Ok(());
    }
    if kind == "DeleteOptions" {
        return Err(Status::bad_request(format!(
            "no kind \"DeleteOptions\" is registered for version {version:?} in scheme \"pkg/api/legacyscheme/scheme.go:30\""
        )));
    }
    Err(Status::bad_request("decoded object cannot be converted to DeleteOptions"))
}

/// Whether an object whose deletion has begun may go now.
pub fn is_finished(kind: &Kind, object: &Value) -> bool {
    object.is_deleting()
        && object.finalizers().is_empty()
        && !kind.rules.holds_deletion(object)
        && grace_of(object) == 0
}

/// The seconds that an object whose deletion has begun is given.
fn grace_of(object: &Value) -> i64 {
    object.at(&["metadata", "deletionGracePeriodSeconds"]).and_then(Value::as_i64).unwrap_or(0)
}

/// What a deletion came to.
pub enum Deleted {
    /// The object is gone: its last state.
    Gone(Value),
    /// Its deletion has begun; the object as it is now.
    Pending(Value),
}

/// `DELETE` of one object.
///
/// # Errors
/// 400, 403, 404, 409, 422.
pub async fn delete(ctx: Ctx, bytes: Bytes) -> Result<Response<Body>, Status> {
    let options = DeleteOptions::of(&ctx, &bytes)?;
    ctx.warnings.add(options.warning(&ctx.kind));
    Ok(match delete_object(&ctx, ctx.name(), &options, true).await? {
        Deleted::Gone(object) if ctx.kind.returns_deleted => ctx.answer(StatusCode::OK, &object),
        Deleted::Gone(object) => response::json(
            StatusCode::OK,
            &Status::success(Details {
                name: ctx.name().into(),
                group: ctx.kind.group.to_string(),
                kind: ctx.kind.plural.to_string(),
                uid: object.uid().into(),
                ..Details::default()
            }),
        ),
        Deleted::Pending(object) => {
            let accepted = options.orphan_dependents == Some(false);
            ctx.answer(if accepted { StatusCode::ACCEPTED } else { StatusCode::OK }, &object)
        }
    })
}

/// `DELETE` of a collection: what the selectors match at one revision.
///
/// # Errors
/// As [`delete`]; objects that vanish meanwhile are fine.
pub async fn delete_collection(ctx: Ctx, bytes: Bytes) -> Result<Response<Body>, Status> {
    ctx.query.check_list()?;
    let options = DeleteOptions::of(&ctx, &bytes)?;
    ctx.warnings.add(options.warning(&ctx.kind));
    let listed = list::select(&ctx).await?;
    let deletions = listed.items.iter().map(|object| {
        let (ctx, options) = (&ctx, &options);
        async move {
            let namespace = object.key().rsplit_once('/').map(|(ns, _)| ns.to_owned());
            let name = object.key().rsplit('/').next().unwrap_or_default();
            let one = ctx.in_namespace(namespace);
            match delete_object(&one, name, options, true).await {
                Err(refusal) if refusal.reason != "NotFound" => Err(refusal),
                _ => Ok(()),
            }
        }
    });
    let deletions: Vec<_> = deletions.collect();
    futures::stream::iter(deletions).buffer_unordered(PARALLEL).try_collect::<Vec<()>>().await?;
    list::respond(&ctx, &listed)
}

/// Deletes one object, or begins to; `admit` unless it was asked for in other words, which were admitted.
///
/// # Errors
/// As [`delete`].
pub async fn delete_object(
    ctx: &Ctx,
    name: &str,
    options: &DeleteOptions,
    admit: bool,
) -> Result<Deleted, Status> {
    let kind = &ctx.kind;
    let not_found = || Status::not_found(&kind.plural, &kind.group, name);
    let mut found = ctx.api.store.get(&ctx.key(name)).await?;
    for _ in 0..TRIES {
        let KeyValue { value, revision, .. } = found.ok_or_else(not_found)?;
        let old = ctx.loaded(&value, revision)?;
        check_preconditions(kind, name, options, &old)?;
        let mut new = old.clone();
        begin(kind, options, &mut new);
        let mut write = Write::update(ctx, &old, revision, new);
        write.dry_run = options.is_dry_run(ctx);
        write.ends = is_finished(kind, &write.new);
        if write.new == old {
            return Ok(Deleted::Pending(old));
        }
        if admit {
            ctx.api.admission.admit(Operation::delete(ctx, &old, options)).await?;
        }
        let mut riders = commit::riders(&mut write).await?;
        match commit::commit(&mut write, &mut riders).await? {
            Outcome::Conflict(current) => {
                found = current;
                continue;
            }
            Outcome::Done(revision) => write.new.set_meta("resourceVersion", revision.to_string()),
            Outcome::Tried => {}
        }
        let gone = write.ends;
        return Ok(if gone { Deleted::Gone(write.new) } else { Deleted::Pending(write.new) });
    }
    Err(ctx.modified(name))
}

/// Refuses to delete another object than is meant.
///
/// # Errors
/// 409.
pub fn check_preconditions(
    kind: &Kind,
    name: &str,
    options: &DeleteOptions,
    object: &Value,
) -> Result<(), Status> {
    let Some(wanted) = &options.preconditions else { return Ok(()) };
    for (what, wanted, found, happened) in [
        ("UID", &wanted.uid, object.uid(), "deleted and then recreated"),
        ("ResourceVersion", &wanted.resource_version, object.resource_version(), "modified"),
    ] {
        if let Some(wanted) = wanted.as_ref().filter(|wanted| *wanted != found) {
            let why = format!(
                "the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). The object might have been {happened}"
            );
            return Err(Status::conflict(&kind.kind, &kind.group, name, why));
        }
    }
    Ok(())
}

/// Turns an object into one whose deletion has begun (or has been hastened, or treats dependents otherwise).
fn begin(kind: &Kind, options: &DeleteOptions, object: &mut Value) {
    let period = kind.rules.grace_period(object, options.grace_period_seconds);
    let grace = period.unwrap_or(0).max(0);
    if !object.is_deleting() {
        end_after(kind, grace, machinery::clock::now(), object);
        if kind.facts.notes_grace && object.generation() > 0 {
            object.set_meta("generation", object.generation() + 1);
        }
        kind.rules.begin_deletion(object);
    } else if period.is_some() {
        // Only a shorter period that was asked for changes the deletion of what is given one.
        if options.grace_period_seconds.is_none() || grace >= grace_of(object) {
            return;
        }
        end_after(kind, grace, began(object), object);
    } else if kind.rules.holds_deletion(object) {
        return;
    }
    tell_collector(options.finalizer(kind, object), object);
}

/// When the deletion under way began: its grace period counts from then.
fn began(object: &Value) -> Timestamp {
    let now = machinery::clock::now();
    let end = object.at(&["metadata", "deletionTimestamp"]).and_then(Value::as_str);
    let end = end.and_then(|end| end.parse::<Timestamp>().ok());
    let given = SignedDuration::from_secs(grace_of(object));
    end.and_then(|end| end.checked_sub(given).ok()).map_or(now, |began| began.min(now))
}

/// Notes that the object ends so many seconds after its deletion began.
fn end_after(kind: &Kind, grace: i64, began: Timestamp, object: &mut Value) {
    // A grace period beyond the end of time lasts until then.
    let deadline = began.checked_add(SignedDuration::from_secs(grace)).unwrap_or(Timestamp::MAX);
    object.set_meta("deletionTimestamp", deadline.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    if kind.facts.notes_grace {
        object.set_meta("deletionGracePeriodSeconds", grace);
    }
}

/// Leaves the object with this one, or none, of the garbage collector's finalizers.
fn tell_collector(finalizer: Option<&'static str>, object: &mut Value) {
    let present = object.finalizers();
    let (told, others): (Vec<&str>, Vec<&str>) =
        present.into_iter().partition(|f| [FOREGROUND, ORPHAN].contains(f));
    if told != finalizer.as_slice() {
        let all = others.into_iter().chain(finalizer).map(str::to_owned).collect();
        object.set_finalizers(all);
    }
}

#[cfg(test)]
mod tests;
