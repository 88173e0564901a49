//! ValidatingAdmissionPolicies: rules that the server itself evaluates.

use api::Message;
use std::sync::Arc;

use api::status::{Cause, Status};
use async_trait::async_trait;
use kinds::{
    builtin::admission_registration::{Denial, Given},
    kind::Kind,
};

use super::{Call, Policies, given};
use crate::{
    admission::{
        Operation, Step,
        request::{Asker, apart},
    },
    resources::{VALIDATING_ADMISSION_POLICIES, VALIDATING_ADMISSION_POLICY_BINDINGS},
};

/// The step.
pub struct ValidatingAdmissionPolicy(Policies);

impl ValidatingAdmissionPolicy {
    /// The step.
    pub fn new() -> Self {
        Self(Policies::new(VALIDATING_ADMISSION_POLICIES, VALIDATING_ADMISSION_POLICY_BINDINGS))
    }
}

#[async_trait]
impl Step for ValidatingAdmissionPolicy {
    fn handles(&self, operation: &Operation<'_>) -> bool {
        self.0.handle(operation)
    }

    async fn validate(&self, operation: &Operation<'_>) -> Result<(), Status> {
        let calls = self.0.calls(operation).await?;
        if calls.is_empty() {
            return Ok(());
        }
        let mut seen: Vec<(Arc<Kind>, Given)> = Vec::new();
        for row in calls.iter().filter_map(|call| Some(&call.with.as_ref().ok()?.0)) {
            if !seen.iter().any(|(known, _)| Arc::ptr_eq(known, row)) {
                seen.push((Arc::clone(row), given(operation, row).await?));
            }
        }
        let asker = Asker::of(operation);
        let judge = move |call: Call| (judge(&call, &mut seen, &asker), call);
        let judged: Vec<_> = apart(move || calls.into_iter().map(judge).collect()).await?;
        // All are asked, for their warnings; the first to deny is the one that is told.
        let mut refusal = None;
        for (denials, call) in judged {
            for denial in denials {
                let does = |wanted: &str| {
                    let actions = call.bound.as_ref().map(|bound| &bound.spec.validation_actions);
                    actions.is_some_and(|actions| actions.iter().any(|action| action == wanted))
                };
                if does("Warn") && !denial.always && call.with.is_ok() {
                    operation.ctx.warnings.add([call.say("Validation failed for ", ": ", &denial.message)]);
                }
                if refusal.is_none() && (denial.always || call.with.is_err() || does("Deny")) {
                    refusal = Some(refused(operation, &call, &denial));
                }
            }
        }
        refusal.map_or(Ok(()), Err)
    }
}

/// Why a policy does not let the object in, of which `seen` is what can be seen in each version.
fn judge(call: &Call, seen: &mut [(Arc<Kind>, Given)], asker: &Asker) -> Vec<Denial> {
    let fails = call.policy.fails();
    let unknown = |why: &Message| fails.then(|| Denial::of(why.to_string())).into_iter().collect();
    let judged = call.with.as_ref().and_then(|(row, params)| {
        let compiled = call.policy.compiled.as_ref()?;
        let given = seen.iter_mut().find(|(known, _)| Arc::ptr_eq(known, row));
        let given = &mut given.expect("each version that a policy wants was made").1;
        given.params.clone_from(params);
        Ok(compiled.judge(given, asker, fails))
    });
    judged.unwrap_or_else(unknown)
}

impl Call {
    /// A sentence about the policy, and its binding.
    fn say(&self, before: &str, after: &str, why: &str) -> String {
        let binding = self.bound.as_ref().map(|bound| format!(" with binding '{}'", bound.name));
        let (name, binding) = (&self.policy.name, binding.unwrap_or_default());
        format!("{before}ValidatingAdmissionPolicy '{name}'{binding}{after}{why}")
    }
}

fn refused(operation: &Operation<'_>, call: &Call, denial: &Denial) -> Status {
    let message = call.say("", " denied request: ", &denial.message);
    let reason = denial.reason.as_deref().unwrap_or("Invalid");
    let code = match reason {
        "Unauthorized" => 401,
        "Forbidden" => 403,
        "RequestEntityTooLarge" => 413,
        _ => 422,
    };
    let mut status = Status { reason: reason.into(), code, ..operation.forbidden(&message) };
    status.details.get_or_insert_default().causes.push(Cause { message, ..Cause::default() });
    status
}
