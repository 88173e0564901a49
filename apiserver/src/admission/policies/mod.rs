//! Policies, and the bindings that put them to use: which are about an operation, and with which parameters.
//!
//! Counterpart of upstream's `admission/plugin/policy/generic`.

mod mutating;
mod validating;

use std::{collections::HashMap, sync::Arc};

use api::{
    Message, message,
    object::{ObjectExt as _, named},
    selector::LabelSelector,
    status::Status,
};
use k8s_openapi::api::admissionregistration::v1::{ParamKind, ParamRef};
use kinds::{
    builtin::admission_registration::{BindingSpec, Compiled, Given, PolicySpec},
    kind::Kind,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    Operation,
    derived::Derived,
    matching::{Matching, is_exempt},
};
use crate::{
    Api,
    forms::{shown_value, value},
    resources::BuiltIn,
    store::Revision,
    watch_cache::{CachedObject, Objects, Scope},
};

pub use mutating::MutatingAdmissionPolicy;
pub use validating::ValidatingAdmissionPolicy;

/// Groups whose kinds are questions to the server: who could not ask them could not repair a policy.
const QUESTIONS: &[&str] = &["authentication.k8s.io", "authorization.k8s.io"];

/// All policies of a sort, and their bindings.
struct Policies(Derived<Known, 2>);

/// Each policy with its bindings, both in the order of their names.
type Known = Vec<(Arc<Policy>, Vec<Arc<Bound>>)>;

struct Policy {
    name: String,
    revision: Revision,
    spec: PolicySpec,
    matching: Result<Matching, Message>,
    compiled: Result<Compiled, Message>,
}

struct Bound {
    name: String,
    spec: BindingSpec,
    matching: Result<Option<Matching>, Message>,
}

/// A policy that is to be asked about an operation.
struct Call {
    policy: Arc<Policy>,
    /// None when the policy itself cannot be.
    bound: Option<Arc<Bound>>,
    /// The version in which it sees the objects, and its parameters; or why it cannot be asked.
    with: Result<(Arc<Kind>, Value), Message>,
}

impl Policy {
    /// What cannot be read may be about everything, and fails as it says.
    fn of(object: &CachedObject) -> Self {
        let (spec, matching) = match read::<PolicySpec>(object) {
            Ok(spec) => {
                let matching = spec.match_constraints.as_ref().map(Matching::of_policy);
                (spec, matching.unwrap_or_else(|| Err("it says nothing of what it is about".into())))
            }
            Err((why, said)) => {
                let mut spec = PolicySpec::default();
                spec.failure_policy = Some(said.str_at(&["failurePolicy"]).to_owned());
                (spec, Err(Message::of(why)))
            }
        };
        let (compiled, name) = (Compiled::of(&spec), object.name().to_owned());
        Self { name, revision: object.revision(), spec, matching, compiled }
    }

    /// Whether what it cannot judge is not let in.
    fn fails(&self) -> bool {
        self.spec.failure_policy.as_deref() != Some("Ignore")
    }
}

impl Bound {
    /// One that cannot be read puts its policy to use with whatever the policy is about.
    fn of(object: &CachedObject) -> Self {
        let (spec, matching) = match read::<BindingSpec>(object) {
            Ok(spec) => {
                let matching = spec.match_resources.as_ref().map(Matching::of_policy).transpose();
                (spec, matching)
            }
            Err((why, said)) => {
                let policy_name = said.str_at(&["policyName"]).to_owned();
                (BindingSpec { policy_name, ..BindingSpec::default() }, Err(Message::of(why)))
            }
        };
        Self { name: object.name().to_owned(), spec, matching }
    }
}

impl Policies {
    fn new(policies: BuiltIn, bindings: BuiltIn) -> Self {
        Self(Derived::of([policies, bindings]))
    }

    /// Whether any policy may be about an operation.
    fn handle(&self, operation: &Operation<'_>) -> bool {
        let is_question = QUESTIONS.contains(&&*operation.ctx.kind.group);
        self.0.is_any(&operation.ctx.api) && !is_exempt(operation) && !is_question
    }

    /// Which policies are to be asked about an operation, once with each parameter.
    ///
    /// # Errors
    /// 500 when what is kept of them cannot be made.
    async fn calls(&self, operation: &Operation<'_>) -> Result<Vec<Call>, Status> {
        let mut calls = Vec::new();
        let current = |last: &Known, [policies, bindings]: &[Objects; 2]| known(last, policies, bindings);
        for (policy, bindings) in &*self.0.current(&operation.ctx.api, current).await? {
            let call = |bound: Option<&Arc<Bound>>, with| Call {
                policy: Arc::clone(policy),
                bound: bound.map(Arc::clone),
                with,
            };
            let row = match about(policy.matching.as_ref(), operation).await {
                Ok(Some(row)) => row,
                Ok(None) => continue,
                Err(why) => {
                    calls.push(call(None, Err(message!("failed to configure policy: {why}"))));
                    continue;
                }
            };
            let kind = policy.spec.param_kind.as_ref().map(|params| param_row(&operation.ctx.api, params));
            let unusable =
                policy.compiled.as_ref().err().or(kind.as_ref().and_then(|kind| kind.as_ref().err()));
            if let Some(why) = unusable {
                calls.push(call(None, Err(message!("failed to configure policy: {why}"))));
                continue;
            }
            let kind = kind.and_then(Result::ok);
            for bound in bindings {
                let found = match &bound.matching {
                    Ok(None) => Ok(Some(Arc::clone(&row))),
                    Ok(Some(matching)) => about(Ok(matching), operation).await,
                    Err(why) => Err(why.clone()),
                };
                let with = match found {
                    Ok(None) => continue,
                    Ok(Some(_)) => params(operation, kind.as_deref(), bound.spec.param_ref.as_ref()),
                    Err(why) => Err(why),
                };
                match with {
                    Ok(all) => {
                        calls.extend(
                            all.into_iter().map(|one| call(Some(bound), Ok((Arc::clone(&row), one)))),
                        );
                    }
                    Err(why) => {
                        calls.push(call(Some(bound), Err(message!("failed to configure binding: {why}"))));
                    }
                }
            }
        }
        Ok(calls)
    }
}

/// The policies that are bound; the expressions of those that have changed are compiled anew.
fn known(last: &Known, policies: &Objects, bindings: &Objects) -> Known {
    let last: HashMap<&str, &Arc<Policy>> = last.iter().map(|(policy, _)| (&*policy.name, policy)).collect();
    let mut by_policy: HashMap<String, Vec<Arc<Bound>>> = HashMap::new();
    for object in bindings.scan(&Scope::All, None) {
        let bound = Bound::of(object);
        by_policy.entry(bound.spec.policy_name.clone()).or_default().push(bound.into());
    }
    let bound = policies.scan(&Scope::All, None).filter_map(|object| {
        let bindings = by_policy.remove(object.name())?;
        let policy = match last.get(object.name()) {
            Some(same) if same.revision == object.revision() => Arc::clone(same),
            _ => Arc::new(Policy::of(object)),
        };
        Some((policy, bindings))
    });
    bound.collect()
}

/// What expressions see of an operation, but for the parameters.
async fn given(operation: &Operation<'_>, row: &Kind) -> Result<Given, Status> {
    Ok(Given { namespace: operation.namespace_object().await?, ..operation.given(row) })
}

/// An object's specification; or why it cannot be read, and what it says: who wrote it was another server.
fn read<T: DeserializeOwned>(object: &CachedObject) -> Result<T, (String, Value)> {
    let spec = value(object).map(|mut object| match object["spec"].take() {
        Value::Null => json!({}),
        spec => spec,
    });
    let read = spec.map_err(|why| (why.message, Value::Null)).and_then(|said| {
        T::deserialize(&said).map_err(|why| (format!("its spec cannot be read: {why}"), said))
    });
    read.inspect_err(|(why, _)| tracing::error!(name = object.name(), why, "cannot be put to use"))
}

/// The version of the operation's resource that is meant, if it is.
async fn about(
    matching: Result<&Matching, &Message>,
    operation: &Operation<'_>,
) -> Result<Option<Arc<Kind>>, Message> {
    match matching {
        Ok(matching) => matching.matches(operation).await.map_err(|refusal| refusal.message.into()),
        Err(why) => Err(why.clone()),
    }
}

/// The kind of a policy's parameters.
fn param_row(api: &Api, params: &ParamKind) -> Result<Arc<Kind>, Message> {
    let (version, kind) = (params.api_version.as_deref().unwrap_or(""), params.kind.as_deref().unwrap_or(""));
    api.table().named(version, kind).cloned().ok_or_else(|| {
        let name = named(&json!({"apiVersion": version, "kind": kind}));
        message!("failed to find resource referenced by paramKind: '{name}'")
    })
}

/// The parameters with which a policy is asked, each time with one; null where it has none.
fn params(
    operation: &Operation<'_>,
    kind: Option<&Kind>,
    wanted: Option<&ParamRef>,
) -> Result<Vec<Value>, Message> {
    let (Some(kind), Some(wanted)) = (kind, wanted) else { return Ok(vec![Value::Null]) };
    let named = wanted.namespace.as_deref().filter(|namespace| !namespace.is_empty());
    let namespace = match (kind.namespaced, named.or(operation.namespace())) {
        (false, _) if named.is_some() => {
            return Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".into());
        }
        (true, None) => {
            return Err(
                "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
                    .into(),
            );
        }
        (false, _) => None,
        (true, namespace) => namespace,
    };
    let Some(resource) = operation.ctx.api.cache.resource(&kind.storage_prefix()) else {
        return Err(message!("paramKind kind `{}` not known", kind.kind));
    };
    let shown = |object: &CachedObject| shown_value(kind, object).map_err(|refusal| refusal.message);
    let found: Vec<Value> = match wanted.name.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => {
            let key = namespace.map_or(name.to_owned(), |namespace| format!("{namespace}/{name}"));
            resource.get(&key).map(|object| shown(&object)).into_iter().collect::<Result<_, _>>()?
        }
        None => {
            let selector = LabelSelector::from_label_selector(wanted.selector.as_ref())?;
            let scope = namespace.map_or(Scope::All, |namespace| Scope::Namespace(namespace.to_owned()));
            let snapshot = resource.snapshot();
            let selected = snapshot.objects.scan(&scope, None).filter(|object| {
                let labels: Vec<(&str, &str)> = object.labels().collect();
                selector.matches(&labels[..])
            });
            selected.map(|object| shown(object)).collect::<Result<_, _>>()?
        }
    };
    if found.is_empty() && wanted.parameter_not_found_action.as_deref() == Some("Deny") {
        return Err("no params found for policy binding with `Deny` parameterNotFoundAction".into());
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
