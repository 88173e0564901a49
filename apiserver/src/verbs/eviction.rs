//! `POST …/pods/<name>/eviction`: a deletion that disruption budgets may hold back.
//!
//! A budget counts an eviction before the pod is deleted, through its status, so that no two evictions use the
//! same allowance. Counterpart of upstream's `pkg/registry/core/pod/storage/eviction.go`.

use api::{
    conditions,
    object::ObjectExt as _,
    pod::is_final,
    selector::LabelSelector,
    status::{Cause, Details, Status},
};
use bytes::Bytes;
use http::Response;
use kinds::kind::Part;
use serde_json::{Map, Value, json};

use super::{
    Tracking, created,
    delete::{self, DeleteOptions},
    update::{self, Expected, Seen, Terms},
};
use crate::{
    admission::Operation,
    body,
    context::Ctx,
    resources::{POD_DISRUPTION_BUDGETS, PODS},
    response::Body,
    stamp::now,
    watch_cache::Scope,
};

/// Evictions that the budget's controller has not confirmed yet.
const MAX_UNCONFIRMED: usize = 2000;
/// When to come again while a budget's numbers are old, in seconds.
const COME_AGAIN: u32 = 10;
/// How often an eviction is tried on a new state when others write the pod in between, as upstream.
const TRIES: usize = 20;

/// Evicts a pod.
///
/// # Errors
/// 400 for an eviction of another pod than the path names, 404, 409 when the pod is not the one meant, 422, 429 when
/// a budget allows no disruption now, 500 when several budgets are about the pod.
pub async fn evict(ctx: Ctx, bytes: Bytes) -> Result<Response<Body>, Status> {
    let mut eviction = body::parse_kind(&ctx.media, &bytes, &["policy/v1", "policy/v1beta1"], "Eviction")?;
    ctx.trail.was_sent(&eviction);
    let steps = &ctx.api.admission;
    steps.mutate(&mut Operation::create(&ctx, ctx.name(), &mut eviction)).await?;
    if !eviction.name().is_empty() && eviction.name() != ctx.name() {
        return Err(Status::bad_request("name in URL does not match name in Eviction object"));
    }
    let options: DeleteOptions = match eviction.get("deleteOptions") {
        None | Some(Value::Null) => DeleteOptions::default(),
        Some(options) => {
            serde_json::from_value(options.clone()).map_err(|e| Status::bad_request(e.to_string()))?
        }
    };
    options.check()?;
    let dry_run = options.is_dry_run(&ctx);
    let admitted = Operation { dry_run, ..Operation::create(&ctx, ctx.name(), &mut eviction) };
    steps.validate(&admitted).await?;
    let is_given = options.preconditions.as_ref().is_some_and(|wanted| wanted.resource_version.is_some());
    for _ in 0..TRIES {
        let pod = ctx.api.stored(PODS, &ctx.cache_key(ctx.name())).await?.ok_or_else(|| ctx.not_found())?;
        // Nothing is counted or told about a pod that is not the one meant.
        delete::check_preconditions(&ctx.kind, ctx.name(), &options, &pod)?;
        let held = if guarded(&pod) { budget_of(&ctx, &pod)? } else { None };
        let verdict = verdict(held.as_ref(), &pod);
        if let Verdict::Counted(budget) = verdict {
            count(&ctx, budget.name(), &pod, dry_run).await?;
        }
        let mut options = options.clone();
        let wanted = options.preconditions.get_or_insert_default();
        wanted.uid.get_or_insert_with(|| pod.uid().to_owned());
        if matches!(verdict, Verdict::FreeAsItIs | Verdict::FreeWhileUnhealthy(_)) {
            wanted.resource_version.get_or_insert_with(|| pod.resource_version().to_owned());
        }
        let went = go(&ctx, options, dry_run).await;
        let changed = !is_given && went.as_ref().is_err_and(|refusal| refusal.reason == "Conflict");
        match verdict {
            Verdict::FreeAsItIs if changed => {}
            Verdict::FreeWhileUnhealthy(budget) if changed => return Err(not_yet(budget.name())),
            _ => return went.map(|()| created()),
        }
    }
    Err(ctx.modified(ctx.name()))
}

/// Whether budgets are asked at all: not about pods that do no work, or none any more.
fn guarded(pod: &Value) -> bool {
    let phase = pod.str_at(&["status", "phase"]);
    !pod.is_deleting() && phase != "Pending" && !is_final(phase)
}

/// The budget that is about a pod.
fn budget_of(ctx: &Ctx, pod: &Value) -> Result<Option<Value>, Status> {
    let scope = Scope::Namespace(pod.namespace().to_owned());
    let nothing = Map::new();
    let labels = pod.metadata().and_then(|m| m.get("labels")).and_then(Value::as_object).unwrap_or(&nothing);
    let mut found = Vec::new();
    for budget in ctx.api.values(POD_DISRUPTION_BUDGETS, &scope)? {
        let selector = LabelSelector::from_value(budget.at(&["spec", "selector"]));
        if selector.is_ok_and(|selector| selector.matches(labels)) {
            found.push(budget);
        }
    }
    if found.len() > 1 {
        let why = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
        return Err(Status::failure(500, "", why));
    }
    Ok(found.pop())
}

/// What a budget has to say to the eviction of a pod.
enum Verdict<'a> {
    /// Nothing.
    Free,
    /// Nothing, as long as nobody may have come to rely on the pod: it does no work yet.
    FreeAsItIs,
    /// Nothing, as long as the pod stays unhealthy.
    FreeWhileUnhealthy(&'a Value),
    /// It must allow and count it.
    Counted(&'a Value),
}

fn verdict<'a>(budget: Option<&'a Value>, pod: &Value) -> Verdict<'a> {
    let Some(budget) = budget else {
        let is_going = pod.is_deleting() || is_final(pod.str_at(&["status", "phase"]));
        return if is_going || guarded(pod) { Verdict::Free } else { Verdict::FreeAsItIs };
    };
    if conditions::holds(pod, "Ready") {
        return Verdict::Counted(budget);
    }
    let (healthy, desired) = (number(budget, "currentHealthy"), number(budget, "desiredHealthy"));
    let always = budget.str_at(&["spec", "unhealthyPodEvictionPolicy"]) == "AlwaysAllow";
    if always || (healthy >= desired && desired > 0) {
        Verdict::FreeWhileUnhealthy(budget)
    } else {
        Verdict::Counted(budget)
    }
}

fn number(budget: &Value, field: &str) -> i64 {
    budget.at(&["status", field]).and_then(Value::as_i64).unwrap_or(0)
}

/// Has a budget count the eviction of a pod.
async fn count(ctx: &Ctx, budget: &str, pod: &Value, dry_run: bool) -> Result<(), Status> {
    let mut of_budget =
        Ctx::internal(&ctx.api, POD_DISRUPTION_BUDGETS, Some(pod.namespace()), Some(budget))?.at_status();
    of_budget.query.dry_run = dry_run;
    let at = now();
    update::write(&of_budget, Part::Status, Expected::default(), |current| counted(current, pod.name(), &at))
        .await
        .map(|_| ())
}

/// The budget with one disruption less.
fn counted(budget: &Value, pod: &str, at: &str) -> Result<Value, Status> {
    let name = budget.name();
    if number(budget, "observedGeneration") < budget.generation() {
        return Err(not_yet(name));
    }
    let allowed = number(budget, "disruptionsAllowed");
    let forbidden = |why: &str| Status::forbidden("poddisruptionbudget", "policy", name, why.to_owned());
    if allowed < 0 {
        return Err(forbidden("pdb disruptions allowed is negative"));
    }
    let unconfirmed = budget.at(&["status", "disruptedPods"]).and_then(Value::as_object);
    if unconfirmed.is_some_and(|pods| pods.len() > MAX_UNCONFIRMED) {
        return Err(forbidden(
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
        ));
    }
    if allowed == 0 {
        let failed = conditions::find(budget, "DisruptionAllowed")
            .filter(|c| c["status"] == "False" && c["reason"] == "SyncFailed");
        let why = match failed {
            Some(condition) => format!(
                "The disruption budget {name} does not allow evicting pods currently because it failed sync: {}",
                condition.str_at(&["message"])
            ),
            None => format!(
                "The disruption budget {name} needs {} healthy pods and has {} currently",
                number(budget, "desiredHealthy"),
                number(budget, "currentHealthy")
            ),
        };
        return Err(refused(why, None));
    }
    let mut budget = budget.clone();
    budget["status"]["disruptionsAllowed"] = json!(allowed - 1);
    if !budget["status"]["disruptedPods"].is_object() {
        budget["status"]["disruptedPods"] = json!({});
    }
    budget["status"]["disruptedPods"][pod] = json!(at);
    if allowed == 1 {
        used_up(&mut budget, at);
    }
    Ok(budget)
}

/// Says in a budget that it allows nothing more.
fn used_up(budget: &mut Value, at: &str) {
    let condition = json!({
        "type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods", "message": "",
        "lastTransitionTime": at, "observedGeneration": number(budget, "observedGeneration"),
    });
    conditions::set_in(budget, condition);
}

fn not_yet(budget: &str) -> Status {
    refused(
        format!("The disruption budget {budget} is still being processed by the server."),
        Some(COME_AGAIN),
    )
}

fn refused(why: String, retry_after: Option<u32>) -> Status {
    let mut status =
        Status::too_many_requests("Cannot evict pod as it would violate the pod's disruption budget.", 0);
    status.details = Some(Details {
        causes: vec![Cause { reason: "DisruptionBudget".into(), message: why, field: String::new() }],
        retry_after_seconds: retry_after,
        ..Details::default()
    });
    status
}

/// Says in the pod's status why it goes, and deletes it: as it is then, where a version is meant.
async fn go(ctx: &Ctx, mut options: DeleteOptions, dry_run: bool) -> Result<(), Status> {
    if !dry_run {
        let version = announce(ctx, &options).await?;
        let meant = options.preconditions.as_mut().and_then(|wanted| wanted.resource_version.as_mut());
        meant.into_iter().for_each(|meant| meant.clone_from(&version));
    }
    // As upstream: what was admitted is the eviction.
    delete::delete_object(ctx, ctx.name(), &options, false).await.map(drop)
}

/// Says in the status of the pod that is meant why it goes. Answers the version that it has then.
async fn announce(ctx: &Ctx, options: &DeleteOptions) -> Result<String, Status> {
    let of_pod = Ctx::internal(&ctx.api, PODS, ctx.path.namespace.as_deref(), Some(ctx.name()))?.at_status();
    let condition = json!({
        "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting", "lastProbeTime": null, "lastTransitionTime": now(),
    });
    let terms =
        Terms { seen: Seen::Admitted, ..Terms::of(Part::Status, Expected::default(), Tracking::Update) };
    let written = update::write_on(&of_pod, terms, |pod| {
        delete::check_preconditions(&ctx.kind, ctx.name(), options, pod)?;
        let mut pod = pod.clone();
        conditions::set_in(&mut pod, condition.clone());
        Ok(pod)
    });
    Ok(written.await?.object.resource_version().to_owned())
}

#[cfg(test)]
mod tests;
