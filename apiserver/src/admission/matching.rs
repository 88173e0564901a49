//! Which operations a webhook or a policy is about: rules of operations, groups, versions and resources, and selectors of
//! namespaces and objects.
//!
//! Counterpart of upstream's `admission/plugin/webhook/predicates`.

use std::sync::Arc;

use api::{Message, object::ObjectExt as _, selector::LabelSelector, status::Status};
use k8s_openapi::{
    api::admissionregistration::v1::{MatchResources, NamedRuleWithOperations, RuleWithOperations},
    apimachinery::pkg::apis::meta::v1 as meta,
};
use kinds::kind::Kind;
use serde_json::{Map, Value};

use super::{Operation, Verb};
use crate::resources::NAMESPACES;

/// The group of webhook configurations and policies.
const GROUP: &str = "admissionregistration.k8s.io";

/// What a webhook or a policy is about.
pub struct Matching {
    rules: Vec<Rule>,
    excluded: Vec<Rule>,
    /// Whether rules also are about the other versions of the resources that they name.
    equivalent: bool,
    namespaces: LabelSelector,
    objects: LabelSelector,
}

impl Matching {
    /// What the rules and selectors of a webhook say.
    ///
    /// # Errors
    /// For a selector that is none.
    pub fn of_webhook(
        rules: Option<&Vec<RuleWithOperations>>,
        policy: Option<&str>,
        namespaces: Option<&meta::LabelSelector>,
        objects: Option<&meta::LabelSelector>,
    ) -> Result<Self, Message> {
        Ok(Self {
            rules: rules.into_iter().flatten().map(Rule::of).collect(),
            excluded: Vec::new(),
            equivalent: policy != Some("Exact"),
            namespaces: selector(namespaces)?,
            objects: selector(objects)?,
        })
    }

    /// What the constraints of a policy or a binding say. Without rules they are about everything.
    ///
    /// # Errors
    /// For a selector that is none.
    pub fn of_policy(constraints: &MatchResources) -> Result<Self, Message> {
        let rules = |rules: &Option<Vec<NamedRuleWithOperations>>| -> Vec<Rule> {
            rules.iter().flatten().map(Rule::of_named).collect()
        };
        let mut wanted = rules(&constraints.resource_rules);
        if wanted.is_empty() {
            wanted.push(Rule::everything());
        }
        Ok(Self {
            rules: wanted,
            excluded: rules(&constraints.exclude_resource_rules),
            equivalent: constraints.match_policy.as_deref() != Some("Exact"),
            namespaces: selector(constraints.namespace_selector.as_ref())?,
            objects: selector(constraints.object_selector.as_ref())?,
        })
    }

    /// The version of the operation's resource that it is about, in which it is to see the objects ([`Operation::shown`]);
    /// `None` when it is not about the operation.
    ///
    /// # Errors
    /// 404 for a namespace that is not there.
    pub async fn matches(&self, operation: &Operation<'_>) -> Result<Option<Arc<Kind>>, Status> {
        if self.row(&self.excluded, operation).is_some() {
            return Ok(None);
        }
        let Some(row) = self.row(&self.rules, operation) else { return Ok(None) };
        if !self.selects_object(operation) || !self.selects_namespace(operation).await? {
            return Ok(None);
        }
        Ok(Some(row.clone()))
    }

    /// The version of the operation's resource that some rules are about: its own if one is.
    fn row<'a>(&self, rules: &[Rule], operation: &'a Operation<'_>) -> Option<&'a Arc<Kind>> {
        let target = Target {
            verb: operation.verb,
            subresource: operation.subresource().unwrap_or(""),
            namespace: operation.namespace(),
            name: operation.object_name(),
        };
        row(rules, self.equivalent, &target, &operation.ctx.kind, &operation.ctx.versions)
    }

    /// The object as it is or as it is to be.
    fn selects_object(&self, operation: &Operation<'_>) -> bool {
        let selects =
            |object: &Value| object.metadata().is_some() && self.objects.matches(&labels(Some(object)));
        let new = operation.new.as_deref();
        self.objects.is_everything() || new.is_some_and(selects) || operation.old.is_some_and(selects)
    }

    async fn selects_namespace(&self, operation: &Operation<'_>) -> Result<bool, Status> {
        let is_namespace = NAMESPACES.is(&operation.ctx.kind);
        let Some(name) = operation.namespace() else { return Ok(true) };
        if self.namespaces.is_everything() {
            return Ok(true);
        }
        // What a namespace is to become counts before it is.
        let is_written = matches!(operation.verb, Verb::Create | Verb::Update);
        if is_namespace && operation.subresource().is_none() && is_written {
            return Ok(self.namespaces.matches(&labels(operation.new.as_deref())));
        }
        if let Some(cached) = operation.ctx.api.cached(NAMESPACES, name) {
            let labels: Vec<(&str, &str)> = cached.labels().collect();
            return Ok(self.namespaces.matches(&labels[..]));
        }
        let stored = operation.ctx.api.stored(NAMESPACES, name).await?;
        let stored = stored.ok_or_else(|| Status::not_found("namespaces", "", name))?;
        Ok(self.namespaces.matches(&labels(Some(&stored))))
    }
}

/// Whether an operation is on what decides about operations: nobody may lock the door to that.
pub fn is_exempt(operation: &Operation<'_>) -> bool {
    let kind = &operation.ctx.kind;
    let decides = ["WebhookConfiguration", "AdmissionPolicy", "AdmissionPolicyBinding"];
    kind.group == GROUP && decides.iter().any(|end| kind.kind.ends_with(end))
}

fn selector(selector: Option<&meta::LabelSelector>) -> Result<LabelSelector, Message> {
    selector.map_or(Ok(LabelSelector::everything()), |s| LabelSelector::from_label_selector(Some(s)))
}

fn labels(object: Option<&Value>) -> Option<&Map<String, Value>> {
    object?.metadata()?.get("labels")?.as_object()
}

/// A rule. An empty list, and `*`, stand for everything.
struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    /// With their subresources, "" for the resource itself.
    resources: Vec<(String, String)>,
    scope: Scope,
    /// The names of the objects; none for all.
    names: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    All,
    Cluster,
    Namespaced,
}

impl Rule {
    fn of(rule: &RuleWithOperations) -> Self {
        Self::of_named(&NamedRuleWithOperations {
            api_groups: rule.api_groups.clone(),
            api_versions: rule.api_versions.clone(),
            operations: rule.operations.clone(),
            resource_names: None,
            resources: rule.resources.clone(),
            scope: rule.scope.clone(),
        })
    }

    fn of_named(rule: &NamedRuleWithOperations) -> Self {
        let resources = rule.resources.iter().flatten().map(|resource| {
            let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
            (resource.to_owned(), subresource.to_owned())
        });
        Self {
            operations: rule.operations.clone().unwrap_or_default(),
            groups: rule.api_groups.clone().unwrap_or_default(),
            versions: rule.api_versions.clone().unwrap_or_default(),
            resources: resources.collect(),
            scope: match rule.scope.as_deref() {
                Some("Cluster") => Scope::Cluster,
                Some("Namespaced") => Scope::Namespaced,
                _ => Scope::All,
            },
            names: rule.resource_names.clone().unwrap_or_default(),
        }
    }

    fn everything() -> Self {
        let all = || vec!["*".to_owned()];
        Self {
            operations: all(),
            groups: all(),
            versions: all(),
            resources: vec![("*".into(), "*".into())],
            scope: Scope::All,
            names: Vec::new(),
        }
    }

    /// Whether it is about an operation on objects of this version.
    fn matches(&self, target: &Target<'_>, row: &Kind) -> bool {
        let is = |said: &str, given: &str| said == "*" || said == given;
        let any = |said: &[String], given: &str| said.iter().any(|said| is(said, given));
        // A namespace lies in no namespace, though requests to it are in that one.
        let in_namespace = target.namespace.is_some() && !NAMESPACES.is(row);
        let scope = match self.scope {
            Scope::All => true,
            Scope::Cluster => !in_namespace,
            Scope::Namespaced => in_namespace,
        };
        let of =
            |(resource, sub): &(String, String)| is(resource, &row.plural) && is(sub, target.subresource);
        scope
            && any(&self.operations, target.verb.as_str())
            && any(&self.groups, &row.group)
            && any(&self.versions, &row.version)
            && self.resources.iter().any(of)
            && (self.names.is_empty() || self.names.iter().any(|name| name == target.name))
    }
}

/// What rules look at, besides the kind.
struct Target<'a> {
    verb: Verb,
    subresource: &'a str,
    namespace: Option<&'a str>,
    name: &'a str,
}

/// The version that rules are about: the request's own, else, if they are about equivalent ones, another that has the
/// subresource.
fn row<'a>(
    rules: &[Rule],
    equivalent: bool,
    target: &Target<'_>,
    own: &'a Arc<Kind>,
    versions: &'a [Arc<Kind>],
) -> Option<&'a Arc<Kind>> {
    if rules.iter().any(|rule| rule.matches(target, own)) {
        return Some(own);
    }
    let has = |row: &Kind| target.subresource.is_empty() || row.subresource(target.subresource).is_some();
    let others = || versions.iter().filter(|row| equivalent && !Arc::ptr_eq(row, own) && has(row));
    rules.iter().find_map(|rule| others().find(|row| rule.matches(target, row)))
}

#[cfg(test)]
mod tests;
