//! Bootstrap tokens, `ID.SECRET`, by which new nodes show who they are until they have a certificate: each is a Secret
//! `bootstrap-token-ID` in `kube-system`. Upstream: `plugin/pkg/auth/authenticator/token/bootstrap`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::ByteString;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::User;
use crate::{resources::SECRETS, watch_cache::WatchCache};

/// The group of all of them.
const GROUP: &str = "system:bootstrappers";

/// What is read of the Secret.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Token {
    metadata: Metadata,
    r#type: String,
    data: BTreeMap<String, ByteString>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    deletion_timestamp: Option<Timestamp>,
}

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
    let known: Token = serde_json::from_slice(&object.json()).ok()?;
    let user = known.user(id, secret, now);
    if user.is_none() {
        tracing::debug!(id, "the Secret of a bootstrap token does not fit, or is good no more");
    }
    user
}

impl Token {
    fn user(&self, id: &str, secret: &str, now: Timestamp) -> Option<User> {
        let text =
            |key: &str| self.data.get(key).map_or(Some(""), |value| std::str::from_utf8(&value.0).ok());
        // Of digests, how far they agree tells nothing.
        let same = Sha256::digest(text("token-secret")?) == Sha256::digest(secret);
        let expired = match text("expiration")? {
            "" => false,
            at => at.parse::<Timestamp>().map_or(true, |end| end <= now),
        };
        let fits = same
            && !expired
            && self.metadata.deletion_timestamp.is_none()
            && self.r#type == "bootstrap.kubernetes.io/token"
            && text("token-id")? == id
            && text("usage-bootstrap-authentication")? == "true";
        let more = text("auth-extra-groups")?.split(',').filter(|group| !group.is_empty());
        let groups: BTreeSet<&str> = more.chain([GROUP]).collect();
        let all_allowed = groups.iter().all(|group| *group == GROUP || is_group(group));
        let groups = groups.into_iter().map(str::to_owned).collect();
        (fits && all_allowed).then(|| User::new(format!("system:bootstrap:{id}"), String::new(), groups))
    }
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
