//! What rules allow, and whether somebody's rules cover others. Counterpart of upstream's
//! `pkg/apis/rbac/v1/evaluation_helpers.go` and `component-helpers/auth/rbac/validation`.

use api::{Message, message};
use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::rbac::v1::PolicyRule;

use super::Action;

/// How many rights of a role are looked at, at most.
const MOST_RIGHTS: usize = 200_000;

/// How many of them times how many entries of rules are compared, at most.
const MOST_COMPARED: usize = 20_000_000;

/// How many lines are told of what somebody lacks, and how much of a name.
const MOST_TOLD: usize = 50;
const LONGEST_TOLD: usize = 253;

fn list(list: &Option<Vec<String>>) -> &[String] {
    list.as_deref().unwrap_or_default()
}

fn among(list: &[String], wanted: &str) -> bool {
    list.iter().any(|entry| entry == "*" || entry == wanted)
}

/// Whether a rule's resource is `resource` or its part `subresource`.
fn is_resource(of_rule: &str, resource: &str, subresource: &str) -> bool {
    match (of_rule.split_once('/'), subresource) {
        _ if of_rule == "*" => true,
        (None, "") => of_rule == resource,
        (None, _) | (Some(_), "") => false,
        (Some((named, part)), _) => part == subresource && (named == "*" || named == resource),
    }
}

fn is_below(of_rule: &str, path: &str) -> bool {
    of_rule == path || (of_rule.ends_with('*') && path.starts_with(of_rule.trim_end_matches('*')))
}

/// Whether a rule allows an action.
pub fn allows(rule: &PolicyRule, action: &Action<'_>) -> bool {
    match action {
        Action::Resource { verb, group, resource, subresource, name, .. } => {
            let names = list(&rule.resource_names);
            among(&rule.verbs, verb)
                && among(list(&rule.api_groups), group)
                && list(&rule.resources).iter().any(|entry| is_resource(entry, resource, subresource))
                && (names.is_empty() || names.iter().any(|entry| entry == name))
        }
        Action::Path { verb, path } => {
            among(&rule.verbs, verb) && list(&rule.non_resource_urls).iter().any(|url| is_below(url, path))
        }
    }
}

/// A single right: one verb on one resource or path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Right<'a> {
    verb: &'a str,
    on: On<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum On<'a> {
    Resource { group: &'a str, resource: &'a str, name: Option<&'a str> },
    Path(&'a str),
}

fn rights(rule: &PolicyRule) -> impl Iterator<Item = Right<'_>> {
    let names: Vec<Option<&str>> = match list(&rule.resource_names) {
        [] => vec![None],
        names => names.iter().map(|name| Some(name.as_str())).collect(),
    };
    let resources = list(&rule.api_groups).iter().flat_map(move |group| {
        let names = names.clone();
        list(&rule.resources).iter().flat_map(move |resource| {
            let names = names.clone();
            rule.verbs.iter().flat_map(move |verb| {
                let on = move |name| On::Resource { group, resource, name };
                names.clone().into_iter().map(move |name| Right { verb, on: on(name) })
            })
        })
    });
    let paths = list(&rule.non_resource_urls).iter();
    resources.chain(paths.flat_map(|url| rule.verbs.iter().map(|verb| Right { verb, on: On::Path(url) })))
}

/// How many rights a rule has.
fn count(rule: &PolicyRule) -> usize {
    let names = list(&rule.resource_names).len().max(1);
    let resources = list(&rule.api_groups).len().saturating_mul(list(&rule.resources).len());
    let on = resources.saturating_mul(names).saturating_add(list(&rule.non_resource_urls).len());
    on.saturating_mul(rule.verbs.len())
}

/// How many entries a rule's lists have.
fn entries(rule: &PolicyRule) -> usize {
    let lists = [&rule.api_groups, &rule.resources, &rule.resource_names, &rule.non_resource_urls];
    rule.verbs.len() + lists.iter().map(|entries| list(entries).len()).sum::<usize>()
}

fn covers(rule: &PolicyRule, right: &Right<'_>) -> bool {
    among(&rule.verbs, right.verb)
        && match right.on {
            On::Resource { group, resource, name } => {
                let names = list(&rule.resource_names);
                let (plain, part) = resource.split_once('/').unwrap_or((resource, ""));
                among(list(&rule.api_groups), group)
                    && list(&rule.resources).iter().any(|e| e == resource || is_resource(e, plain, part))
                    && (names.is_empty() || name.is_some_and(|name| names.iter().any(|entry| entry == name)))
            }
            On::Path(path) => {
                list(&rule.resource_names).is_empty()
                    && list(&rule.non_resource_urls).iter().any(|url| is_below(url, path))
            }
        }
}

/// The rights of `wanted` that no rule of `owned` covers, one by one.
///
/// # Errors
/// When it would take too long to say so.
pub fn missing<'w>(owned: &[&PolicyRule], wanted: &'w [PolicyRule]) -> Result<Vec<Right<'w>>, Message> {
    let rights_of = wanted.iter().map(count).fold(0, usize::saturating_add);
    let entries: usize = owned.iter().map(|rule| entries(rule)).sum();
    if rights_of > MOST_RIGHTS || rights_of.saturating_mul(entries.max(1)) > MOST_COMPARED {
        return Err(message!("the role has too many rights to compare them with those held: {rights_of}"));
    }
    let is_covered = |right: &Right<'_>| owned.iter().any(|rule| covers(rule, right));
    Ok(wanted.iter().flat_map(rights).filter(|right| !is_covered(right)).collect())
}

/// Rights as rules with one of each.
pub fn as_rules(rights: &[Right<'_>]) -> Vec<PolicyRule> {
    let one = |text: &str| Some(vec![text.to_owned()]);
    let rule = |right: &Right<'_>| {
        let verbs = vec![right.verb.to_owned()];
        match right.on {
            On::Resource { group, resource, name } => PolicyRule {
                verbs,
                api_groups: one(group),
                resources: one(resource),
                resource_names: name.and_then(one),
                non_resource_urls: None,
            },
            On::Path(path) => PolicyRule { verbs, non_resource_urls: one(path), ..PolicyRule::default() },
        }
    };
    rights.iter().map(rule).collect()
}

/// Rights as upstream tells them: a line for each resource and path; of very many the first ones.
pub fn described(rights: &[Right<'_>]) -> String {
    let mut verbs: BTreeMap<(On<'_>, &str), BTreeSet<&str>> = BTreeMap::new();
    for right in rights {
        // A path has a line for each verb.
        let of = if matches!(right.on, On::Path(_)) { right.verb } else { "" };
        verbs.entry((right.on, of)).or_default().insert(right.verb);
    }
    let line = |(on, verbs): (&On<'_>, &BTreeSet<&str>)| {
        let verbs = quoted(&verbs.iter().map(|verb| cut(verb)).collect::<Vec<_>>());
        match *on {
            On::Resource { group, resource, name } => {
                let name = name.map(|name| format!("ResourceNames:[{:?}], ", cut(name))).unwrap_or_default();
                let (group, resource) = (cut(group), cut(resource));
                format!("{{APIGroups:[{group:?}], Resources:[{resource:?}], {name}Verbs:{verbs}}}")
            }
            On::Path(path) => format!("{{NonResourceURLs:[{:?}], Verbs:{verbs}}}", cut(path)),
        }
    };
    let mut lines: Vec<String> =
        verbs.iter().take(MOST_TOLD).map(|((on, _), verbs)| line((on, verbs))).collect();
    lines.sort();
    if verbs.len() > MOST_TOLD {
        lines.push(format!("and {} more", verbs.len() - MOST_TOLD));
    }
    lines.join("\n")
}

/// The beginning of a text, as long as names may be.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST_TOLD)]
}

/// Texts as Go shows them with `%q`.
pub fn quoted<T: AsRef<str>>(texts: &[T]) -> String {
    let texts: Vec<_> = texts.iter().map(|text| format!("{:?}", text.as_ref())).collect();
    format!("[{}]", texts.join(" "))
}

#[cfg(test)]
mod tests;
