//! Webhooks: servers that are asked what is to become of an operation.
//!
//! While none is configured no operation is looked at.
//! Mutating webhooks are asked one after the other, by the names of their configurations, validating ones together.
//! Counterpart of upstream's `admission/plugin/webhook`.

mod client;
mod review;

use std::{
    collections::HashMap,
    fmt::{self, Display},
    sync::Arc,
    time::Duration,
};

use api::{Message, message, object::ObjectExt as _, status::Status};
use async_trait::async_trait;
use futures::future::join_all;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhook;
use kinds::{
    builtin::admission_registration::Conditions,
    kind::Kind,
    patch::{PatchType, apply_patch},
    schema::Types,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Operation, Step,
    derived::Derived,
    matching::{Matching, is_exempt},
    request::{Asker, apart, request},
};
use crate::{
    Api,
    forms::value,
    resources::{BuiltIn, MUTATING_WEBHOOK_CONFIGURATIONS, VALIDATING_WEBHOOK_CONFIGURATIONS},
    stamp::new_uid,
    store::Revision,
    watch_cache::{CachedObject, Objects, Scope},
};
use client::Client;
use review::JSON_PATCH;

/// How long a webhook that does not say it may take.
const TIMEOUT: i32 = 10;

/// Webhooks that may change what is to be written.
pub struct MutatingAdmissionWebhook(Hooks);

/// Webhooks that may refuse it.
pub struct ValidatingAdmissionWebhook(Hooks);

impl MutatingAdmissionWebhook {
    /// The step.
    pub fn new() -> Self {
        Self(Hooks::of(MUTATING_WEBHOOK_CONFIGURATIONS))
    }
}

impl ValidatingAdmissionWebhook {
    /// The step.
    pub fn new() -> Self {
        Self(Hooks::of(VALIDATING_WEBHOOK_CONFIGURATIONS))
    }
}

#[async_trait]
impl Step for MutatingAdmissionWebhook {
    fn handles(&self, operation: &Operation<'_>) -> bool {
        self.0.handle(operation)
    }

    async fn mutate(&self, operation: &mut Operation<'_>) -> Result<(), Status> {
        let configurations = self.0.current(&operation.ctx.api).await?;
        for (i, hook) in configurations.iter().flat_map(|c| &c.hooks).enumerate() {
            let Some(row) = hook.wanted(operation).await? else { continue };
            if !operation.reinvocation.is_due(&hook.key, operation.new.as_deref()) {
                continue;
            }
            let place = Place { phase: "mutation", round: operation.reinvocation.round(), index: i };
            let called = match hook.call(operation, &row, true).await {
                Ok(Some(patch)) => hook.apply(operation, &row, &patch).inspect(|_| {
                    hook.note_patch(operation, place, &patch);
                }),
                Ok(None) => Ok(false),
                Err(failure) => Err(failure),
            };
            let mutated = matches!(called, Ok(true));
            let (of, name) = (&hook.configuration, &hook.name);
            operation.ctx.trail.annotate(
                place,
                format_args!(r#"{{"configuration":{of:?},"webhook":{name:?},"mutated":{mutated}}}"#),
            );
            hook.open(operation, place, called)?;
            if mutated {
                operation.reinvocation.changed();
            }
            if hook.asked_again {
                operation.reinvocation.asked(&hook.key);
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Step for ValidatingAdmissionWebhook {
    fn handles(&self, operation: &Operation<'_>) -> bool {
        self.0.handle(operation)
    }

    async fn validate(&self, operation: &Operation<'_>) -> Result<(), Status> {
        let configurations = self.0.current(&operation.ctx.api).await?;
        let mut wanted = Vec::new();
        for hook in configurations.iter().flat_map(|c| &c.hooks) {
            if let Some(row) = hook.wanted(operation).await? {
                wanted.push((hook, row));
            }
        }
        let calls = wanted.iter().enumerate().map(|(i, (hook, row))| async move {
            let called = hook.call(operation, row, false).await;
            hook.open(operation, Place { phase: "validating", round: 0, index: i }, called)
        });
        join_all(calls).await.into_iter().collect()
    }
}

/// All webhooks of a resource's objects, by the names of these.
struct Hooks(Derived<Configurations, 1>);

type Configurations = Vec<Arc<Configuration>>;

struct Configuration {
    name: String,
    revision: Revision,
    hooks: Vec<Hook>,
}

impl Hooks {
    fn of(resource: BuiltIn) -> Self {
        Self(Derived::of([resource]))
    }

    fn handle(&self, operation: &Operation<'_>) -> bool {
        self.0.is_any(&operation.ctx.api) && !is_exempt(operation)
    }

    async fn current(&self, api: &Api) -> Result<Arc<Configurations>, Status> {
        self.0.current(api, |last, [objects]| configurations(last, objects)).await
    }
}

/// Made anew where something has changed: connections live on in those that have not.
fn configurations(last: &Configurations, objects: &Objects) -> Configurations {
    let last: HashMap<&str, &Arc<Configuration>> = last.iter().map(|one| (&*one.name, one)).collect();
    let present = objects.scan(&Scope::All, None).map(|object| match last.get(object.name()) {
        Some(same) if same.revision == object.revision() => Arc::clone(same),
        _ => Arc::new(Configuration::of(object)),
    });
    present.collect()
}

impl Configuration {
    fn of(object: &CachedObject) -> Self {
        let name = object.name().to_owned();
        // What cannot be read at all may have to be asked about everything.
        let read = value(object).unwrap_or_else(|_| json!({"webhooks": [null]}));
        let hooks = read.list_at(&["webhooks"]).iter().map(|hook| Hook::of(&name, hook)).collect();
        Self { name, revision: object.revision(), hooks }
    }
}

/// Where a webhook was asked, as annotations name it.
#[derive(Clone, Copy)]
struct Place {
    phase: &'static str,
    round: u8,
    index: usize,
}

impl Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { phase, round, index } = self;
        write!(out, "{phase}.webhook.admission.k8s.io/round_{round}_index_{index}")
    }
}

/// One webhook.
struct Hook {
    name: String,
    /// The object that it is of.
    configuration: String,
    /// Which one it is of all.
    key: String,
    /// Or why nobody can tell what it is about.
    matching: Result<Matching, Message>,
    conditions: Result<Arc<Conditions>, Message>,
    fails_open: bool,
    timeout: Duration,
    asked_again: bool,
    /// The version of the reviews that it understands.
    version: Option<&'static str>,
    client: Client,
}

/// Why a webhook does not let an operation pass.
enum Failure {
    /// It could not be asked.
    Call(Message),
    /// It refuses.
    Refused(Box<Status>),
}

impl From<Status> for Failure {
    fn from(refusal: Status) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl Hook {
    /// A validating webhook has the same fields but one. What another server let in may be unusable here.
    fn of(configuration: &str, said: &Value) -> Self {
        let read = MutatingWebhook::deserialize(said);
        let unread = read.as_ref().err().map(Message::of);
        let hook = read.unwrap_or_else(|_| MutatingWebhook {
            name: said.str_at(&["name"]).to_owned(),
            failure_policy: Some(said.str_at(&["failurePolicy"]).to_owned()),
            ..MutatingWebhook::default()
        });
        let matching = unread.map_or_else(
            || {
                Matching::of_webhook(
                    hook.rules.as_ref(),
                    hook.match_policy.as_deref(),
                    hook.namespace_selector.as_ref(),
                    hook.object_selector.as_ref(),
                )
            },
            Err,
        );
        let conditions = Conditions::of_webhook(hook.match_conditions.as_deref().unwrap_or_default());
        if let Some(why) = matching.as_ref().err().or(conditions.as_ref().err()) {
            tracing::error!(configuration, hook.name, %why, "unusable webhook");
        }
        let known = |said: &String| ["v1", "v1beta1"].into_iter().find(|version| version == said);
        let seconds = u64::try_from(hook.timeout_seconds.unwrap_or(TIMEOUT)).unwrap_or_default();
        Self {
            configuration: configuration.to_owned(),
            key: format!("webhook/{configuration}/{}", hook.name),
            matching,
            conditions: conditions.map(Arc::new),
            fails_open: hook.failure_policy.as_deref() == Some("Ignore"),
            timeout: Duration::from_secs(seconds),
            asked_again: hook.reinvocation_policy.as_deref() == Some("IfNeeded"),
            version: hook.admission_review_versions.iter().find_map(known),
            client: Client::new(&hook.client_config),
            name: hook.name,
        }
    }

    /// The version of the resource in which it wants to see the operation, if it does.
    async fn wanted(&self, operation: &Operation<'_>) -> Result<Option<Arc<Kind>>, Status> {
        self.row(operation).await.or_else(|failure| match failure {
            Failure::Refused(status) => Err(*status),
            Failure::Call(_) if self.fails_open => Ok(None),
            Failure::Call(why) => Err(operation.forbidden(why)),
        })
    }

    async fn row(&self, operation: &Operation<'_>) -> Result<Option<Arc<Kind>>, Failure> {
        let unusable = |why: &Message| Failure::Call(why.clone());
        let matching = self.matching.as_ref().map_err(unusable)?;
        let Some(row) = matching.matches(operation).await? else { return Ok(None) };
        let conditions = self.conditions.clone().map_err(Failure::Call)?;
        if conditions.is_empty() {
            return Ok(Some(row));
        }
        let (given, asker) = (operation.given(&row), Asker::of(operation));
        let hold = apart(move || conditions.hold(&given, &asker)).await?.map_err(Failure::Call)?;
        Ok(hold.then_some(row))
    }

    /// Asks it. Answers its patch, too, if it may have one.
    async fn call(
        &self,
        operation: &Operation<'_>,
        row: &Kind,
        mutating: bool,
    ) -> Result<Option<Vec<u8>>, Failure> {
        let version = self.version.ok_or_else(|| {
            let why = "webhook does not accept known AdmissionReview versions (v1, v1beta1)";
            Failure::Call(message!("could not create admission objects: {why}"))
        })?;
        let uid = new_uid();
        let shown = |object: Option<&Value>| object.map(|object| operation.shown(row, object));
        let (new, old) = (shown(operation.new.as_deref()), shown(operation.old));
        let request = request(operation, row);
        let asked = review::review(version, &uid, request, new.as_ref(), old.as_ref()).to_string();
        let failed = |why| Failure::Call(message!("failed to call webhook: {why}"));
        let answer =
            self.client.post(&operation.ctx.api, asked.into(), self.timeout).await.map_err(failed)?;
        let (mut response, patch) =
            review::response(&answer, version, &uid, mutating).map_err(Failure::Call)?;
        for (key, value) in std::mem::take(&mut response.audit_annotations) {
            operation.ctx.trail.annotate(format_args!("{}/{key}", self.name), value);
        }
        operation.ctx.warnings.add(std::mem::take(&mut response.warnings));
        if response.allowed {
            return Ok(patch);
        }
        Err(Failure::Refused(Box::new(review::denied(&self.name, response.status))))
    }

    /// Tells the audit log of a patch, where it may show what was sent.
    fn note_patch(&self, operation: &Operation<'_>, place: Place, patch: &[u8]) {
        let (configuration, name, trail) = (&self.configuration, &self.name, &operation.ctx.trail);
        if trail.shows_sent()
            && let Ok(patch @ Value::Array(_)) = serde_json::from_slice(patch)
        {
            let noted = format_args!(
                r#"{{"configuration":{configuration:?},"webhook":{name:?},"patch":{patch},"patchType":"{JSON_PATCH}"}}"#
            );
            trail.annotate(Place { phase: "patch", ..place }, noted);
        }
    }

    /// Lets a call fail where it may, which is noted.
    fn open<T>(
        &self,
        operation: &Operation<'_>,
        place: Place,
        called: Result<T, Failure>,
    ) -> Result<(), Status> {
        match called {
            Ok(_) => Ok(()),
            Err(Failure::Refused(status)) => Err(*status),
            Err(Failure::Call(why)) => {
                let why = format!("failed calling webhook {:?}: {why}", self.name);
                tracing::warn!(why, open = self.fails_open, "cannot ask a webhook");
                if !self.fails_open {
                    return Err(Status::internal(why));
                }
                operation.ctx.trail.annotate(format_args!("failed-open.{place}"), &self.name);
                Ok(())
            }
        }
    }

    /// Changes the object as the webhook wants it; defaults come in. Answers whether there is a difference.
    fn apply(&self, operation: &mut Operation<'_>, row: &Kind, patch: &[u8]) -> Result<bool, Failure> {
        let refused = |why: String| Failure::Refused(Box::new(Status::internal(why)));
        let Some(new) = operation.new.as_deref() else {
            let why = "attempted to modify the object, which is not supported for this operation";
            return Err(refused(format!("admission webhook {:?} {why}", self.name)));
        };
        let shown = operation.shown(row, new);
        let patched = apply_patch(PatchType::Json, Types::builtin(), None, &shown, patch);
        let patched = patched.map_err(|refusal| match refusal.code {
            400 => {
                let why = refusal.message.trim_start_matches("error decoding patch: ");
                Failure::Call(message!("received undecodable patch in webhook response: {why}"))
            }
            _ => refused(refusal.message),
        })?;
        if patched == shown {
            return Ok(false);
        }
        operation.replace(row, patched)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
