//! Bootstrap tokens as credentials. Upstream: `plugin/pkg/auth/authenticator/token/bootstrap`.

use std::collections::BTreeSet;

use api::bootstrap_token::{AUTHENTICATES, BootstrapToken};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use sha2::{Digest as _, Sha256};

use super::User;
use crate::{resources::SECRETS, watch_cache::WatchCache};

/// The group of all of them.
const GROUP: &str = "system:bootstrappers";

/// The parts of what has the form of such a token.
pub fn parse(token: &str) -> Option<(&str, &str)> {
    let (id, secret) = token.split_once('.')?;
    let is = |text: &str, length| {
        text.len() == length && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    (is(id, 6) && is(secret, 16)).then_some((id, secret))
}

/// Whom a token names, if it is good at a time.
pub fn find(token: &str, cache: &WatchCache, now: Timestamp) -> Option<User> {
    let (id, secret) = parse(token)?;
    let secrets = cache.resource(SECRETS.prefix)?;
    let object = secrets.get(&format!("kube-system/bootstrap-token-{id}"))?;
    let known: Secret = serde_json::from_slice(&object.json()).ok()?;
    let user = user(&known, secret, now);
    if user.is_none() {
        tracing::debug!(id, "the Secret of a bootstrap token does not fit, or is good no more");
    }
    user
}

/// Whom a Secret names to those who show `secret`.
fn user(known: &Secret, secret: &str, now: Timestamp) -> Option<User> {
    let token = BootstrapToken::of(known).filter(|_| known.metadata.deletion_timestamp.is_none())?;
    let (id, expected) = token.good_for(AUTHENTICATES, now)?;
    // Of digests, how far they agree tells nothing.
    let same = Sha256::digest(expected.as_bytes()) == Sha256::digest(secret);
    let more = token.text("auth-extra-groups");
    let groups: BTreeSet<&str> = more.split(',').filter(|group| !group.is_empty()).chain([GROUP]).collect();
    let all_allowed = groups.iter().all(|group| *group == GROUP || is_group(group));
    let groups = groups.into_iter().map(str::to_owned).collect();
    (same && all_allowed).then(|| User::new(format!("system:bootstrap:{id}"), String::new(), groups))
}

/// Whether a token may put its bearer into a group.
fn is_group(group: &str) -> bool {
    let Some(rest) = group.strip_prefix("system:bootstrappers:") else { return false };
    let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    rest.len() <= 256
        && rest.bytes().all(|b| letter(b) || b == b':' || b == b'-')
        && rest.bytes().last().is_some_and(letter)
}

#[cfg(test)]
mod tests;
