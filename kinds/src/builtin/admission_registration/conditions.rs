//! The conditions under which a webhook or a policy is asked, compiled. Counterpart of upstream's
//! `admission/plugin/webhook/matchconditions`, which serves both, too.

use api::{Message, message};
use cel::{Answer, Authorizer, Session, Unanswered};
use k8s_openapi::api::admissionregistration::v1::MatchCondition;
use serde_json::Value;

use super::{
    compiled::{EXPRESSION, Expression, Given},
    expressions::{Environment, any},
};

/// What all conditions may cost together.
const BUDGET: u64 = 2_500_000;

/// Conditions that must all hold.
#[derive(Debug)]
pub struct Conditions(Vec<Expression>);

impl Conditions {
    /// Compiles those of a webhook, which were validated.
    ///
    /// # Errors
    /// Why one cannot be.
    pub fn of_webhook(conditions: &[MatchCondition]) -> Result<Self, Message> {
        Self::of(conditions, &Environment::new(&any()).with_authorizer())
    }

    /// Compiles conditions.
    pub(super) fn of(conditions: &[MatchCondition], environment: &Environment) -> Result<Self, Message> {
        let compiled = conditions.iter().map(|condition| Expression::of(&condition.expression, environment));
        compiled.collect::<Result<_, _>>().map(Self)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all hold.
    ///
    /// # Errors
    /// Why that is not known: none of them is false, and some came to nothing.
    pub fn hold(&self, given: &Given, authorizer: &dyn Authorizer) -> Result<bool, Message> {
        let mut bindings = given.bindings();
        // The namespace is for what comes after the conditions.
        bindings[3].value = Some(&Value::Null);
        let mut session = Session::new(&bindings, BUDGET).with_authorizer(authorizer, given.resource.clone());
        let mut wrong = Vec::new();
        for condition in &self.0 {
            match session.eval(&condition.program, EXPRESSION) {
                Ok(Answer::Bool(false)) => return Ok(false),
                Ok(_) => {}
                Err(why @ Unanswered::OutOfBudget) => return Err(Message::of(why)),
                Err(why) => wrong.push(condition.failed(&why)),
            }
        }
        match &wrong[..] {
            [] => Ok(true),
            [one] => Err(one.as_str().into()),
            several => Err(message!("[{}]", several.join(", "))),
        }
    }
}
