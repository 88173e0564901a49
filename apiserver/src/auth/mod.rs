//! Who is calling: client certificates and bearer tokens become a [`User`].
//!
//! Who shows neither is anonymous, and may ask for little. Counterpart of upstream's `apiserver/pkg/authentication`.

pub mod authorize;
mod certificate;
pub mod impersonation;
pub mod service_account;
mod token_file;
pub mod websocket;

use std::{collections::BTreeMap, net::SocketAddr, path::Path};

use api::status::Status;
use http::{HeaderMap, header};
use serde::Deserialize;
use serde_json::{Map, Value, json};

pub use certificate::from_certificate;
use service_account::{Bound, ObjectRef, TokenIssuer};
use token_file::TokenFile;

use crate::{
    resources::{BuiltIn, NODES, PODS, SECRETS, SERVICE_ACCOUNTS},
    watch_cache::WatchCache,
};

/// Who shows nothing.
pub const ANONYMOUS: &str = "system:anonymous";
/// The group of all who have shown who they are, and that of all others.
const AUTHENTICATED: &str = "system:authenticated";
const UNAUTHENTICATED: &str = "system:unauthenticated";

/// An identified caller.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// Name, e.g. `system:node:node-1`.
    pub name: String,
    /// A stable id, often empty.
    pub uid: String,
    /// Groups, `system:authenticated` among them.
    pub groups: Vec<String>,
    /// What else is known, such as the pod that a token was given to.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    fn new(name: String, uid: String, mut groups: Vec<String>) -> Self {
        groups.push(AUTHENTICATED.into());
        Self { name, uid, groups, extra: BTreeMap::new() }
    }

    /// What objects show of a user.
    pub fn fields(&self) -> Map<String, Value> {
        let fields = [
            ("username", json!(self.name), self.name.is_empty()),
            ("uid", json!(self.uid), self.uid.is_empty()),
            ("groups", json!(self.groups), self.groups.is_empty()),
            ("extra", json!(self.extra), self.extra.is_empty()),
        ];
        let known = fields.into_iter().filter(|(_, _, is_empty)| !is_empty);
        known.map(|(field, value, _)| (field.to_owned(), value)).collect()
    }

    fn anonymous() -> Self {
        Self { name: ANONYMOUS.into(), groups: vec![UNAUTHENTICATED.into()], ..Self::default() }
    }
}

/// Who is at the other end of a connection.
pub struct Caller {
    /// Whom its client certificate names, if it has shown one.
    pub user: Option<User>,
    /// Where it calls from.
    pub address: SocketAddr,
}

/// Identifies callers.
pub struct Authenticator {
    tokens: Option<TokenFile>,
    service_accounts: Option<TokenIssuer>,
}

impl Authenticator {
    /// Reads the static token file, if one is configured.
    ///
    /// # Errors
    /// When the file cannot be read or a line of it is malformed.
    pub fn new(token_file: Option<&Path>, service_accounts: Option<TokenIssuer>) -> anyhow::Result<Self> {
        Ok(Self { tokens: token_file.map(TokenFile::read).transpose()?, service_accounts })
    }

    /// The caller behind a request: whom the connection's client certificate names, else its bearer token; nobody in
    /// particular when it shows none.
    ///
    /// # Errors
    /// 401 for a token that we do not know.
    pub fn identify(
        &self,
        certified: Option<&User>,
        headers: &HeaderMap,
        cache: &WatchCache,
    ) -> Result<User, Status> {
        if let Some(user) = certified {
            return Ok(user.clone());
        }
        match bearer(headers) {
            Some(token) => self.token(token, cache).ok_or_else(Status::unauthorized),
            None => Ok(User::anonymous()),
        }
    }

    /// Whom a token identifies to those who `audiences` name (to this server when there are none), and to
    /// which of them.
    pub fn review(
        &self,
        token: &str,
        audiences: &[String],
        cache: &WatchCache,
    ) -> Option<(User, Vec<String>)> {
        let own: Vec<String> = self.service_accounts.iter().map(|i| i.issuer().to_owned()).collect();
        let wanted = if audiences.is_empty() { own } else { audiences.to_vec() };
        if let Some(user) = self.tokens.as_ref().and_then(|t| t.find(token)) {
            return Some((user, wanted));
        }
        let names: Vec<&str> = wanted.iter().map(String::as_str).collect();
        let now = jiff::Timestamp::now().as_second();
        let claims = self.service_accounts.as_ref()?.verify_for(token, &names, now)?;
        let user = lives(&claims.bound, cache).then(|| claims.user())?;
        let meant = wanted.into_iter().filter(|audience| claims.aud.contains(audience)).collect();
        Some((user, meant))
    }

    /// Whether this server issues service account tokens.
    pub fn issues_tokens(&self) -> bool {
        self.service_accounts.is_some()
    }

    /// The issuer of service account tokens.
    pub fn issuer(&self) -> Option<&TokenIssuer> {
        self.service_accounts.as_ref()
    }

    fn token(&self, token: &str, cache: &WatchCache) -> Option<User> {
        if let Some(user) = self.tokens.as_ref().and_then(|t| t.find(token)) {
            return Some(user);
        }
        let claims = self.service_accounts.as_ref()?.verify(token)?;
        lives(&claims.bound, cache).then(|| claims.user())
    }
}

/// What is read of an object to see whether it is still the same.
#[derive(Deserialize)]
struct Identity {
    metadata: IdentityMeta,
}

#[derive(Deserialize)]
struct IdentityMeta {
    uid: String,
}

/// Whether what a token is bound to is still there: a token dies with its account, and with its pod, secret or node.
fn lives(bound: &Bound, cache: &WatchCache) -> bool {
    let is_at = |resource: BuiltIn, key: &str, object: &ObjectRef| {
        let found = cache.resource(resource.prefix).and_then(|r| r.get(key));
        let identity = found.and_then(|o| serde_json::from_slice::<Identity>(&o.json()).ok());
        identity.is_some_and(|i| i.metadata.uid == object.uid)
    };
    let is_there = |resource: BuiltIn, object: &ObjectRef| {
        is_at(resource, &format!("{}/{}", bound.namespace, object.name), object)
    };
    // A pod's token only says where the pod ran.
    let node = bound.node.as_ref().filter(|_| bound.pod.is_none());
    is_there(SERVICE_ACCOUNTS, &bound.serviceaccount)
        && bound.pod.as_ref().is_none_or(|pod| is_there(PODS, pod))
        && bound.secret.as_ref().is_none_or(|secret| is_there(SECRETS, secret))
        && node.is_none_or(|node| is_at(NODES, &node.name, node))
}

/// The token of an `Authorization: Bearer` header.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
