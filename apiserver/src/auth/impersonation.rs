//! Impersonation: a caller asks to be taken for somebody else (`kubectl --as`), with the headers `Impersonate-User`,
//! `-Group`, `-Uid` and `-Extra-…`.
//!
//! Invariant: what comes behind sees the other user and none of these headers. Counterpart of upstream's
//! `apiserver/pkg/endpoints/filters/impersonation`, without its constrained modes.

use std::fmt;

use api::{
    status::Status,
    validation::{dns_label, dns_subdomain},
};
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use super::{
    ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, User,
    authorize::{Action, Authorizer},
};
use crate::audit::Trail;

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";

/// Whom a request is to be taken for: its caller, or who its headers name, if the caller may ask for that. The logs say
/// so, with the request's `Audit-Id`.
///
/// # Errors
/// 400 when the headers name no user, 403.
pub fn act(
    caller: User,
    headers: &mut HeaderMap,
    trail: &Trail,
    authorizer: &Authorizer,
) -> Result<User, Status> {
    let Some(wanted) = take(headers)? else { return Ok(caller) };
    let account = service_account(&wanted.name);
    let (resource, namespace, name) = match account {
        Some((namespace, name)) => ("serviceaccounts", namespace, name),
        None => ("users", "", wanted.name.as_str()),
    };
    const AUTHENTICATION: &str = "authentication.k8s.io";
    let check = |group, resource, subresource, namespace, name| {
        let verb = "impersonate";
        let action = Action::Resource { verb, group, resource, subresource, namespace, name, fields: None };
        authorizer.permit(&caller, &action)
    };
    check("", resource, "", namespace, name)?;
    if !wanted.uid.is_empty() {
        check(AUTHENTICATION, "uids", "", "", &wanted.uid)?;
    }
    for group in &wanted.groups {
        check("", "groups", "", "", group)?;
    }
    for (key, values) in &wanted.extra {
        for value in values {
            check(AUTHENTICATION, "userextras", key, "", value)?;
        }
    }
    let user = complete(wanted);
    tracing::info!(caller = caller.name, user = user.name, audit = ?trail.id(), "impersonation");
    trail.acts_for(&user);
    Ok(user)
}

/// Takes the headers out. `None` when they ask for nothing.
fn take(headers: &mut HeaderMap) -> Result<Option<User>, Status> {
    let is_one = |name: &&HeaderName| {
        let name = name.as_str();
        matches!(name, USER | GROUP | UID) || name.starts_with(EXTRA)
    };
    let names: Vec<HeaderName> = headers.keys().filter(is_one).cloned().collect();
    let mut wanted = User::default();
    for name in &names {
        let values: Vec<String> = headers.get_all(name).iter().map(text).collect();
        headers.remove(name);
        match name.as_str() {
            // Of several the first one counts.
            USER => wanted.name = values.into_iter().next().unwrap_or_default(),
            UID => wanted.uid = values.into_iter().next().unwrap_or_default(),
            GROUP => wanted.groups = values,
            name => {
                let key = name.strip_prefix(EXTRA).unwrap_or_default();
                let decoded = percent_decode_str(key).decode_utf8();
                let key = decoded.map_or_else(|_| key.to_owned(), std::borrow::Cow::into_owned);
                wanted.extra.entry(key).or_default().extend(values);
            }
        }
    }
    if !wanted.name.is_empty() {
        return Ok(Some(wanted));
    }
    if wanted == User::default() {
        return Ok(None);
    }
    Err(Status::bad_request(format!("requested {} without impersonating a user name", InGo(&wanted))))
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// Namespace and name of the service account that a user is.
fn service_account(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    (dns_label(namespace).is_empty() && dns_subdomain(name).is_empty()).then_some((namespace, name))
}

/// Adds the groups that follow from who a user is.
fn complete(mut user: User) -> User {
    if user.groups.is_empty()
        && let Some((namespace, _)) = service_account(&user.name)
    {
        user.groups = super::service_account::groups(namespace);
    }
    let group = if user.name == ANONYMOUS { UNAUTHENTICATED } else { AUTHENTICATED };
    if !user.groups.iter().any(|g| g == group || g == UNAUTHENTICATED) {
        user.groups.push(group.to_owned());
    }
    user
}

/// A user as upstream's refusal shows it.
struct InGo<'a>(&'a User);

impl fmt::Display for InGo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |texts: &[String]| {
            let texts: Vec<String> = texts.iter().map(|text| format!("{text:?}")).collect();
            if texts.is_empty() {
                "[]string(nil)".to_owned()
            } else {
                format!("[]string{{{}}}", texts.join(", "))
            }
        };
        let User { name, uid, groups, extra } = self.0;
        let entries: Vec<String> =
            extra.iter().map(|(key, values)| format!("{key:?}:{}", list(values))).collect();
        let extra =
            if entries.is_empty() { "(nil)".to_owned() } else { format!("{{{}}}", entries.join(", ")) };
        let groups = list(groups);
        write!(
            f,
            "&user.DefaultInfo{{Name:{name:?}, UID:{uid:?}, Groups:{groups}, Extra:map[string][]string{extra}}}"
        )
    }
}

#[cfg(test)]
mod tests;
