//! Who is calling: client certificates and bearer tokens become a [`User`].
//!
//! Who shows neither is anonymous, and may ask for little. Counterpart of upstream's `apiserver/pkg/authentication`.

pub mod authorize;
mod bootstrap_token;
mod certificate;
pub mod impersonation;
mod jwt;
pub mod oidc;
mod secret_token;
pub mod service_account;
mod token_file;
pub mod websocket;

use std::{collections::BTreeMap, net::SocketAddr};

use api::{Message, message, status::Status};
use http::HeaderMap;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use certificate::{CREDENTIAL_ID, Certificate};
use jwt::Jwt;
use machinery::serve::{Peer, Stranger, access::bearer};
use oidc::Issuers;
use service_account::{Bound, Claims, LEEWAY, ObjectRef, TokenIssuer};
use token_file::TokenFile;

use crate::{
    args::Config,
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
    /// Somebody who has shown who they are. Whoever names a group of all, or nobody, is not put into another one.
    fn new(name: String, uid: String, mut groups: Vec<String>) -> Self {
        if name != ANONYMOUS
            && !groups.iter().any(|group| [AUTHENTICATED, UNAUTHENTICATED].contains(&group.as_str()))
        {
            groups.push(AUTHENTICATED.into());
        }
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
    /// The client certificate it has shown, if it has one.
    certificate: Option<Certificate>,
    /// Where it calls from.
    pub address: SocketAddr,
    stranger: Stranger,
}

impl Caller {
    /// When the certificate ends that it has shown.
    pub fn certificate_end(&self) -> Option<Timestamp> {
        self.certificate.as_ref()?.end
    }
}

impl From<Peer> for Caller {
    fn from(peer: Peer) -> Self {
        Self {
            certificate: peer.certificate.map(Certificate::from),
            address: peer.address,
            stranger: peer.stranger,
        }
    }
}

/// Why a credential identifies nobody, as a TokenReview says it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nobody here has issued it.
    #[error("invalid bearer token")]
    Unknown,
    /// It was issued here, and is not good, or not any more.
    #[error("[invalid bearer token, {0}]")]
    Because(Message),
}

impl Refused {
    fn because(why: &str) -> Self {
        Self::Because(why.into())
    }
}

/// Identifies callers.
pub struct Authenticator {
    tokens: Option<TokenFile>,
    service_accounts: Option<TokenIssuer>,
    /// Whether bootstrap tokens are taken.
    bootstrap: bool,
    /// For whom credentials are that say nothing of it, and whom a token must be for to be taken here.
    audiences: Vec<String>,
    /// Whose tokens are taken besides.
    others: Issuers,
}

impl Authenticator {
    /// Reads the files that the configuration names.
    ///
    /// # Errors
    /// When one cannot be read or is malformed.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let keys = config.service_account_keys.as_ref();
        let issuer = keys.map(|(signing, trusted)| TokenIssuer::load(&config.tokens, signing, trusted));
        Ok(Self {
            tokens: config.token_file.as_deref().map(TokenFile::read).transpose()?,
            service_accounts: issuer.transpose()?,
            bootstrap: config.bootstrap_tokens,
            audiences: config.tokens.audiences.clone(),
            others: Issuers::new(config.authentication.clone(), &config.tokens.issuers)?,
        })
    }

    /// The caller behind a request: whom the connection's client certificate names, else its bearer token; nobody in
    /// particular when it shows none.
    ///
    /// # Errors
    /// 401 for a credential that is not good now, when there is no other one that is; for none where nobody may come so.
    pub async fn identify(
        &self,
        caller: &Caller,
        path: &str,
        headers: &HeaderMap,
        cache: &WatchCache,
    ) -> Result<User, Status> {
        let certified = caller.certificate.as_ref().map_or(Ok(None), Certificate::user);
        if let Ok(Some(user)) = &certified {
            caller.stranger.met();
            return Ok(User::clone(user));
        }
        let known = match bearer(headers) {
            Some(token) => {
                self.review(token, &[], cache).await.map(|(user, _)| user).inspect(|_| caller.stranger.met())
            }
            None if certified.is_ok() && !self.others.admit_anonymous(path) => Err(Refused::Unknown),
            None => certified.map(|_nobody| User::anonymous()),
        };
        known.map_err(|why| {
            tracing::debug!(%why, address = %caller.address, "Unable to authenticate the request");
            Status::unauthorized()
        })
    }

    /// Whom a token identifies to those who `audiences` name (to this server when there are none), and to
    /// which of them.
    ///
    /// # Errors
    /// When nobody issued it, or why it is not good.
    pub async fn review(
        &self,
        token: &str,
        audiences: &[String],
        cache: &WatchCache,
    ) -> Result<(User, Vec<String>), Refused> {
        let wanted = if audiences.is_empty() { &self.audiences } else { audiences };
        // What says nothing of audiences is for this server alone.
        let ours = |user: User| {
            let ours = wanted.iter().filter(|audience| self.audiences.contains(audience));
            let ours: Vec<_> = ours.cloned().collect();
            if ours.is_empty() { Err(Refused::Unknown) } else { Ok((user, ours)) }
        };
        let now = machinery::clock::now();
        let listed = self.tokens.as_ref().and_then(|tokens| tokens.find(token));
        let joining = || self.bootstrap.then(|| bootstrap_token::find(token, cache, now)).flatten();
        if let Some(user) = listed.or_else(joining) {
            return ours(user);
        }
        let jwt = Jwt::read(token).ok_or(Refused::Unknown)?;
        let issuer = self.service_accounts.as_ref();
        let issued =
            issuer.map_or(Err(Refused::Unknown), |issuer| issuer.verify(&jwt, wanted, now.as_second()));
        let (claims, meant) = match issued {
            Err(Refused::Unknown) => return ours(self.others.review(&jwt, now).await?),
            issued => issued?,
        };
        let now = now.as_second();
        // Another server may have issued it for what this one's cache does not show yet.
        let check = || match claims.lies_in_secret() {
            true => secret_token::check(token, &claims, cache),
            false => check_bound(&claims, cache, now),
        };
        if check().is_err() {
            if let Err(error) = cache.fresh().await {
                tracing::warn!(%error, "a token is judged by what the cache had before");
            }
            check()?;
        }
        Ok((claims.user(), meant))
    }

    /// The issuers whose tokens are taken besides this server's own.
    pub fn others(&self) -> &Issuers {
        &self.others
    }

    /// The issuer of service account tokens, if this server issues any.
    pub fn issuer(&self) -> Option<&TokenIssuer> {
        self.service_accounts.as_ref()
    }
}

/// What is read of an object to see whether it is still the same.
#[derive(Deserialize)]
struct Identity {
    metadata: IdentityMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IdentityMeta {
    uid: String,
    deletion_timestamp: Option<Timestamp>,
}

/// Whether an object is the same, and not being deleted for longer than it had time for.
fn lives(cache: &WatchCache, resource: BuiltIn, key: &str, object: &ObjectRef, now: i64) -> bool {
    let found = cache.resource(resource.prefix).and_then(|resource| resource.get(key));
    let identity = found.and_then(|object| serde_json::from_slice::<Identity>(&object.json()).ok());
    identity.is_some_and(|Identity { metadata }| {
        // What waits for a finalizer lives no longer for it.
        let ended = metadata.deletion_timestamp.is_some_and(|end| end.as_second() < now - LEEWAY);
        metadata.uid == object.uid && !ended
    })
}

/// A token dies with its account, and with the pod, secret or node that it is bound to.
fn check_bound(claims: &Claims, cache: &WatchCache, now: i64) -> Result<(), Refused> {
    let Bound { namespace, serviceaccount, pod, secret, node, .. } = &claims.bound;
    let is_there = |resource: BuiltIn, object: &ObjectRef| {
        lives(cache, resource, &format!("{namespace}/{}", object.name), object, now)
    };
    if !is_there(SERVICE_ACCOUNTS, serviceaccount) {
        let account = format!("{namespace}/{}", serviceaccount.name);
        return Err(Refused::Because(message!("service account {account} has been deleted")));
    }
    // A pod's token only says where the pod ran.
    let node = node.as_ref().filter(|_| pod.is_none());
    let all = pod.as_ref().is_none_or(|pod| is_there(PODS, pod))
        && secret.as_ref().is_none_or(|secret| is_there(SECRETS, secret))
        && node.is_none_or(|node| lives(cache, NODES, &node.name, node, now));
    if all { Ok(()) } else { Err(Refused::because("service account token has been invalidated")) }
}

#[cfg(test)]
mod tests;
