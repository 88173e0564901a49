//! ValidatingAdmissionPolicies: rules that the server itself evaluates.

use api::status::{Cause, Status};
use async_trait::async_trait;
use kinds::builtin::admission_registration::Denial;

use super::{Call, Policies};
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
        // All are asked, for their warnings; the first to deny is the one that is told.
        let mut refusal = None;
        for call in self.0.calls(operation).await {
            for denial in judge(&call, operation).await? {
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

/// Why a policy does not let the object in.
async fn judge(call: &Call, operation: &Operation<'_>) -> Result<Vec<Denial>, Status> {
    let fails = call.policy.fails();
    let (row, params) = match &call.with {
        Ok(with) => with,
        Err(why) => return Ok(fails.then(|| Denial::of(why.clone())).into_iter().collect()),
    };
    let mut given = operation.given(row);
    given.namespace = operation.namespace_object().await?;
    given.params.clone_from(params);
    let (policy, asker) = (call.policy.clone(), Asker::of(operation));
    apart(move || match &policy.compiled {
        Ok(compiled) => compiled.judge(&given, &asker, fails),
        Err(why) => vec![Denial::of(why.clone())],
    })
    .await
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
