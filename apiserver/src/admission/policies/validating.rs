//! ValidatingAdmissionPolicies: rules that the server itself evaluates.

use std::{collections::BTreeMap, sync::Arc};

use api::{
    Message,
    field::cut,
    status::{Cause, Status},
};
use async_trait::async_trait;
use kinds::{
    builtin::admission_registration::{Denial, Given, Judgement},
    kind::Kind,
};
use serde_json::json;

use super::{Call, Policies, given};
use crate::{
    admission::{
        Operation, Step,
        request::{Asker, apart},
    },
    resources::{VALIDATING_ADMISSION_POLICIES, VALIDATING_ADMISSION_POLICY_BINDINGS},
};

/// How much is told of what a policy wants told in the audit log.
const LONGEST: usize = 10 * 1024;

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
        let mut judged: Vec<_> = apart(move || calls.into_iter().map(judge).collect()).await?;
        note(operation, &mut judged);
        // All are asked, for their warnings; the first to deny is the one that is told.
        let mut refusal = None;
        for (judgement, call) in judged {
            for denial in judgement.denials {
                let does = |wanted: &str| {
                    let actions = call.bound.as_ref().map(|bound| &bound.spec.validation_actions);
                    actions.is_some_and(|actions| actions.iter().any(|action| action == wanted))
                };
                if does("Warn") && !denial.always && call.with.is_ok() {
                    operation.ctx.warnings.add([call.say("Validation failed for ", ": ", &denial.message)]);
                }
                if does("Audit") && !denial.always && call.with.is_ok() {
                    note_failure(operation, &call, &denial);
                }
                if refusal.is_none() && (denial.always || call.with.is_err() || does("Deny")) {
                    refusal = Some(refused(operation, &call, &denial));
                }
            }
        }
        refusal.map_or(Ok(()), Err)
    }
}

/// Notes what policies want told in the audit log; of different words under one key all.
fn note(operation: &Operation<'_>, judged: &mut [(Judgement, Call)]) {
    if !operation.ctx.trail.is_kept() {
        return;
    }
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (judgement, call) in judged {
        for (key, value) in judgement.annotations.drain(..) {
            let told = told.entry(format!("{}/{key}", call.policy.name)).or_default();
            let value = cut(&value, LONGEST);
            if !told.contains(&value) {
                told.push(value);
            }
        }
    }
    told.into_iter().for_each(|(key, values)| operation.ctx.trail.annotate(key, values.join(", ")));
}

/// Tells the audit log of a rule that does not hold.
fn note_failure(operation: &Operation<'_>, call: &Call, denial: &Denial) {
    let Some(bound) = call.bound.as_ref().filter(|_| operation.ctx.trail.is_kept()) else { return };
    let noted = format!(
        r#"[{{"message":{},"policy":{:?},"binding":{:?},"expressionIndex":{},"validationActions":{}}}]"#,
        json!(denial.message),
        call.policy.name,
        bound.name,
        denial.rule,
        json!(bound.spec.validation_actions),
    );
    operation.ctx.trail.annotate("validation.policy.admission.k8s.io/validation_failure", noted);
}

/// Why a policy does not let the object in, of which `seen` is what can be seen in each version.
fn judge(call: &Call, seen: &mut [(Arc<Kind>, Given)], asker: &Asker) -> Judgement {
    let fails = call.policy.fails();
    let unknown = |why: &Message| Judgement::from(fails.then(|| Denial::of(why.to_string())));
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
