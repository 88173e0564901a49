//! What somebody should know who wrote an Ingress: told as events.

use std::sync::Arc;

use k8s_openapi::api::networking::v1::Ingress;

/// What is wrong with an Ingress.
#[derive(Debug, Clone)]
pub struct Problem {
    /// The Ingress.
    pub about: Arc<Ingress>,
    /// The event's reason.
    pub reason: &'static str,
    /// The event's message.
    pub message: String,
}

impl Problem {
    /// A problem with an Ingress.
    pub fn new(about: &Arc<Ingress>, reason: &'static str, message: String) -> Self {
        Self { about: Arc::clone(about), reason, message }
    }

    /// What tells it from others: whose it is, and what.
    pub fn key(&self) -> (Option<String>, &'static str, String) {
        (self.about.metadata.uid.clone(), self.reason, self.message.clone())
    }
}
