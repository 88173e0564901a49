//! Bootstrap tokens, `ID.SECRET`, by which new nodes show who they are until they have a certificate: each is a Secret
//! `bootstrap-token-ID` in `kube-system`. Upstream: `k8s.io/cluster-bootstrap/token`.

use std::borrow::Cow;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;

/// The key that says whether its bearer is known by it.
pub const AUTHENTICATES: &str = "usage-bootstrap-authentication";
/// The key that says whether what new nodes read of the cluster is signed with it.
pub const SIGNS: &str = "usage-bootstrap-signing";

/// A Secret that is a bootstrap token.
#[derive(Clone, Copy)]
pub struct BootstrapToken<'a>(&'a Secret);

impl<'a> BootstrapToken<'a> {
    /// The token that a Secret is, if it is one.
    pub fn of(secret: &'a Secret) -> Option<Self> {
        (secret.type_.as_deref() == Some("bootstrap.kubernetes.io/token")).then_some(Self(secret))
    }

    /// What it says under a key; an empty text where it says nothing.
    pub fn text(self, key: &str) -> Cow<'a, str> {
        let said = self.0.data.as_ref().and_then(|data| data.get(key));
        said.map_or(Cow::Borrowed(""), |said| String::from_utf8_lossy(&said.0))
    }

    /// When it runs out, if ever. What is no time is in the past.
    pub fn end(self) -> Option<Timestamp> {
        let end = self.text("expiration");
        (!end.is_empty()).then(|| end.parse().unwrap_or(Timestamp::MIN))
    }

    /// Its id and its secret, if it may be used at `now` as the key `usage` has it.
    pub fn good_for(self, usage: &str, now: Timestamp) -> Option<(Cow<'a, str>, Cow<'a, str>)> {
        let (id, secret) = (self.text("token-id"), self.text("token-secret"));
        let named = self.0.metadata.name.as_deref().and_then(|name| name.strip_prefix("bootstrap-token-"));
        let is_good = named == Some(&*id)
            && !secret.is_empty()
            && self.text(usage) == "true"
            && self.end().is_none_or(|end| now < end);
        is_good.then_some((id, secret))
    }
}

#[cfg(test)]
mod tests;
