//! The second round of mutation: when a webhook or a policy has changed the object, all steps are asked once more, and of
//! webhooks and policies those that want to be asked again when others change it.
//!
//! Counterpart of upstream's `admission/reinvocation.go`.

use std::collections::BTreeSet;

use serde_json::Value;

/// What is known between the rounds of one operation.
#[derive(Default)]
pub struct Reinvocation {
    second: bool,
    wanted: bool,
    /// Who was asked and wants to be asked again.
    asked: BTreeSet<String>,
    /// Who is to be, since the object was changed.
    due: BTreeSet<String>,
    /// The object at the end of the first round.
    left: Option<Value>,
}

impl Reinvocation {
    /// The round: 0, or 1 for the second.
    pub fn round(&self) -> u8 {
        self.second.into()
    }

    /// Notes that the object was changed by somebody outside.
    pub fn changed(&mut self) {
        self.wanted = true;
        self.due.append(&mut self.asked);
    }

    /// Notes that somebody was asked who wants to be asked again.
    pub fn asked(&mut self, who: &str) {
        self.asked.insert(who.to_owned());
    }

    /// Whether somebody is to be asked about the object in this round: in the first all are.
    pub fn is_due(&mut self, who: &str, object: Option<&Value>) -> bool {
        // What the steps before have changed again counts as any other change.
        if let Some(left) = self.left.take()
            && Some(&left) != object
        {
            self.due.append(&mut self.asked);
        }
        !self.second || self.due.contains(who)
    }

    /// Ends a round. Answers whether there is another.
    pub fn next(&mut self, object: Option<&Value>) -> bool {
        let again = self.wanted && !self.second;
        self.second = true;
        self.left = object.filter(|_| again && !self.asked.is_empty()).cloned();
        again
    }
}
