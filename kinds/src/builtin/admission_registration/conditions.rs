//! The conditions under which a webhook is asked, compiled.

use std::sync::Arc;

use cel::{Answer, Binding, Decl, Program};
use k8s_openapi::api::admissionregistration::v1::MatchCondition;
use serde_json::Value;

use super::expressions::{Environment, any, request};

/// What the evaluation of all conditions of a webhook may cost.
const BUDGET: u64 = 2_500_000;

/// Conditions that must all hold.
pub struct Conditions {
    programs: Vec<(String, Program)>,
    object: Arc<Decl>,
    request: Arc<Decl>,
}

impl Conditions {
    /// Compiles conditions, which were validated.
    ///
    /// # Errors
    /// Why one cannot be.
    pub fn compile(conditions: &[MatchCondition]) -> Result<Self, String> {
        let object = any();
        let environment = Environment::new(&object).with_authorizer();
        let programs = conditions.iter().map(|c| {
            let expression = c.expression.trim();
            Ok((expression.to_owned(), environment.compile(expression)?))
        });
        Ok(Self { programs: programs.collect::<Result<_, String>>()?, object, request: request() })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.programs.is_empty()
    }

    /// Whether all hold of an operation: its object, the one before (`null` where there is none), and the
    /// AdmissionRequest.
    ///
    /// # Errors
    /// Why it cannot be said. Where one does not hold, the others do not matter.
    pub fn hold(&self, object: &Value, old: &Value, request: &Value) -> Result<bool, String> {
        let bound = |name, value, decl| Binding { name, value: Some(value), decl, optional: false };
        let bindings = [
            bound("object", object, &self.object),
            bound("oldObject", old, &self.object),
            bound("request", request, &self.request),
        ];
        let (mut left, mut mistakes) = (BUDGET, Vec::new());
        for (expression, program) in &self.programs {
            let (answer, cost) = program.eval(&bindings, left);
            left = left.saturating_sub(cost);
            match answer {
                Ok(Answer::Bool(true)) => {}
                Ok(_) => return Ok(false),
                Err(why) => mistakes.push(format!("expression '{expression}' resulted in error: {why}")),
            }
        }
        match &mistakes[..] {
            [] => Ok(true),
            [one] => Err(one.clone()),
            several => Err(format!("[{}]", several.join(", "))),
        }
    }
}
