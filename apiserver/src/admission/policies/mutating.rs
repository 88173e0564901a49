//! MutatingAdmissionPolicies: changes that the server itself makes.

use std::{mem::take, sync::Arc};

use api::{
    Message,
    object::ObjectExt as _,
    status::{Cause, Status},
};
use async_trait::async_trait;
use kinds::{
    builtin::admission_registration::Given,
    kind::Kind,
    schema::{TypeRef, Types},
};
use serde_json::Value;

use super::{Call, Policies, Policy, given};
use crate::{
    admission::{
        Operation, Step,
        operation::keeps_kind,
        request::{Asker, apart},
    },
    body,
    resources::{MUTATING_ADMISSION_POLICIES, MUTATING_ADMISSION_POLICY_BINDINGS},
};

/// The step.
pub struct MutatingAdmissionPolicy(Policies);

impl MutatingAdmissionPolicy {
    /// The step.
    pub fn new() -> Self {
        Self(Policies::new(MUTATING_ADMISSION_POLICIES, MUTATING_ADMISSION_POLICY_BINDINGS))
    }
}

/// What of a policy's changes was made.
struct Made {
    /// With the object as it is then.
    given: Given,
    /// Whether its conditions hold.
    applies: bool,
    wrong: Vec<String>,
}

#[async_trait]
impl Step for MutatingAdmissionPolicy {
    fn handles(&self, operation: &Operation<'_>) -> bool {
        operation.new.is_some() && self.0.handle(operation)
    }

    async fn mutate(&self, operation: &mut Operation<'_>) -> Result<(), Status> {
        let calls = self.0.calls(operation).await?;
        let mut seen = None;
        let mut refusals = Vec::new();
        for call in &calls {
            let who = call.key();
            if !operation.reinvocation.is_due(&who, operation.new.as_deref()) {
                continue;
            }
            let (changed, applies) = ask(call, operation, &mut seen, &mut refusals).await?;
            if changed {
                operation.reinvocation.changed();
            }
            if applies && call.policy.spec.reinvocation_policy.as_deref() == Some("IfNeeded") {
                operation.reinvocation.asked(&who);
            }
        }
        refused(operation, refusals)
    }
}

impl Call {
    /// Which one it is of all: of a policy, a binding and a parameter.
    fn key(&self) -> String {
        let bound = self.bound.as_ref().map_or("", |bound| &bound.name);
        let params = self.with.as_ref().map_or(&Value::Null, |(_, params)| params);
        format!("policy/{}/{bound}/{}/{}", self.policy.name, params.namespace(), params.name())
    }
}

/// Lets a policy make its changes, `seen` being what the last one saw. Answers whether they are any, and whether the policy is about the object at all.
async fn ask(
    call: &Call,
    operation: &mut Operation<'_>,
    seen: &mut Option<(Arc<Kind>, Given)>,
    refusals: &mut Vec<(String, bool)>,
) -> Result<(bool, bool), Status> {
    let mut refuse = |why: &str, is_known: bool| {
        let name = &call.policy.name;
        let policy = match &call.bound {
            Some(bound) => format!("policy '{name}' with binding '{}'", bound.name),
            None => format!("policy {name:?}"),
        };
        if call.policy.fails() {
            refusals.push((format!("{policy} denied request: {why}"), is_known));
        }
    };
    let (row, params) = match &call.with {
        Ok(with) => with,
        Err(why) => {
            refuse(why, false);
            return Ok((false, false));
        }
    };
    let mut given = match seen.take() {
        Some((known, given)) if Arc::ptr_eq(&known, row) => given,
        _ => given(operation, row).await?,
    };
    given.params.clone_from(params);
    let is_whole = operation.is_whole(row);
    let carried = operation.gvk(row);
    let carried = Types::builtin().root(carried.0, carried.1, carried.2);
    let before = given.object.clone();
    let (policy, seen_as, asker) = (call.policy.clone(), Arc::clone(row), Asker::of(operation));
    let Made { mut given, applies, wrong } = apart(move || {
        // What a subresource carries is of another type than the resource.
        let read = if is_whole { Ok(&*seen_as) } else { Err(carried) };
        make(&policy, read, given, &asker)
    })
    .await??;
    wrong.iter().for_each(|why| refuse(why, true));
    let changed = given.object != before;
    if changed {
        operation.replace(row, take(&mut given.object))?;
        given.object = operation.new.as_deref().map_or(Value::Null, |new| operation.shown(row, new));
    }
    *seen = Some((Arc::clone(row), given));
    Ok((changed, applies))
}

/// Makes a policy's changes one after the other; what goes wrong with one leaves the others.
fn make(
    policy: &Policy,
    read: Result<&Kind, Option<TypeRef>>,
    given: Given,
    asker: &Asker,
) -> Result<Made, Status> {
    let mut made = Made { given, applies: false, wrong: Vec::new() };
    let given = &mut made.given;
    match &policy.compiled {
        Err(why) => made.wrong.push(why.clone().into()),
        Ok(compiled) => match compiled.applies(given, asker) {
            // What was not to be asked for certain is not asked.
            Err(why) => made.wrong.push(why.into()),
            Ok(applies) => {
                made.applies = applies;
                let object_type = match read {
                    Ok(row) => row.object_type(),
                    Err(carried) => carried.map(|root| (Types::builtin(), root)),
                };
                for which in 0..if applies { compiled.changes() } else { 0 } {
                    let mut changed = compiled.change(which, object_type, given, asker);
                    if let Ok(object) = &mut changed {
                        let (version, kind) =
                            (given.object.str_at(&["apiVersion"]), given.object.str_at(&["kind"]));
                        if !keeps_kind(object, version, kind) {
                            // Refused when it is to take the object's place.
                            given.object = take(object);
                            break;
                        }
                        check_fields(read, object)?;
                    }
                    match changed.and_then(|object| match read {
                        Ok(row) => body::try_read(row, object).map_err(Message::of),
                        Err(_) => Ok(object),
                    }) {
                        Ok(object) => given.object = object,
                        Err(why) => made.wrong.push(why.into()),
                    }
                }
            }
        },
    }
    Ok(made)
}

/// Refuses fields that a built-in kind does not have; custom objects lose them later.
fn check_fields(read: Result<&Kind, Option<TypeRef>>, object: &Value) -> Result<(), Status> {
    let built_in = read.ok().filter(|row| !row.is_custom()).and_then(Kind::object_type);
    let unknown = built_in.map(|(types, root)| types.unknown_fields(object, root)).unwrap_or_default();
    if unknown.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = unknown.iter().map(|name| format!("unknown field {name:?}")).collect();
    Err(Status::internal(format!("strict decoding error: {}", names.join(", "))))
}

/// The refusal that tells of all policies that could not be asked, or whose changes could not be made.
fn refused(operation: &Operation<'_>, refusals: Vec<(String, bool)>) -> Result<(), Status> {
    let Some((message, is_known)) = refusals.first().cloned() else { return Ok(()) };
    let mut status = Status { message, ..operation.forbidden("admission request denied by policy") };
    if is_known {
        status.reason = "Invalid".into();
    }
    let causes = refusals.into_iter().map(|(message, _)| Cause { message, ..Cause::default() });
    status.details.get_or_insert_default().causes.extend(causes);
    Err(status)
}
