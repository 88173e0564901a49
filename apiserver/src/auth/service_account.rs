//! Service account tokens: JSON Web Tokens (RFC 7519, RFC 7518), bound to an audience, a lifetime and, for pods, to the
//! pod.
//!
//! Written on `ring`, which TLS brings anyway: the JWT crates would bring a second cryptography library. Counterpart of
//! upstream's `serviceaccount/jwt.go` and `claims.go`.

use api::{Message, account_token, message};
use std::{path::Path, sync::Arc};

use machinery::token_keys::{PublicKey, SigningKey};
use serde::{Deserialize, Serialize};

use super::{
    Refused, User,
    authorize::quoted,
    jwt::{Good, Jwt},
    secret_token,
};
use crate::args::TokenRules;

/// How far the clocks of API servers may be apart, in seconds: tokens are taken so much before and after their time, and
/// after the end of what they are bound to. As upstream.
pub const LEEWAY: i64 = 60;

/// The lifetime that pods' mounted tokens ask for, in seconds: an odd one, by which they are known.
const POD_SECONDS: i64 = 60 * 60 + 7;
/// How long these live instead, so that programs which never read the file again go on working.
const EXTENDED_SECONDS: i64 = 365 * 24 * 60 * 60;

/// What a token says.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct Claims {
    /// For whom it is meant; for this server's own audiences when there are none.
    #[serde(default)]
    pub aud: Vec<String>,
    /// End of life, Unix seconds.
    pub exp: i64,
    /// Time of issue.
    pub iat: i64,
    /// Who issued it.
    pub iss: String,
    /// A unique id.
    #[serde(default)]
    pub jti: String,
    /// Not valid before.
    pub nbf: i64,
    /// `system:serviceaccount:<namespace>:<name>`
    pub sub: String,
    /// What it is bound to.
    #[serde(rename = "kubernetes.io")]
    pub bound: Bound,
}

/// The objects a token is bound to: it dies with them.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct Bound {
    /// Namespace of the account.
    pub namespace: String,
    /// The account.
    pub serviceaccount: ObjectRef,
    /// The pod that asked, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<ObjectRef>,
    /// A secret, if it is bound to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<ObjectRef>,
    /// The node, if it is bound to one; of a pod's token where the pod ran when it asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<ObjectRef>,
    /// When it was to end by what was asked for, if it lives longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warnafter: Option<i64>,
}

/// Name and uid of an object.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct ObjectRef {
    /// Name.
    pub name: String,
    /// Uid; empty for the node of a pod that is not known, and for the Secret that a token lies in.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

impl Claims {
    /// The caller the token stands for.
    pub fn user(&self) -> User {
        let uid = self.bound.serviceaccount.uid.clone();
        let mut user = User::new(self.sub.clone(), uid, groups(&self.bound.namespace));
        let mut also = |name: &str, value: String| {
            if !value.is_empty() {
                user.extra.insert(format!("authentication.kubernetes.io/{name}"), vec![value]);
            }
        };
        if !self.jti.is_empty() {
            also("credential-id", format!("JTI={}", self.jti));
        }
        if let Some(pod) = &self.bound.pod {
            also("pod-name", pod.name.clone());
            also("pod-uid", pod.uid.clone());
        }
        if let Some(node) = &self.bound.node {
            also("node-name", node.name.clone());
            also("node-uid", node.uid.clone());
        }
        user
    }

    /// Whether it is one that lies in a Secret, and not one that is bound to it.
    pub fn lies_in_secret(&self) -> bool {
        self.bound.secret.as_ref().is_some_and(|secret| secret.uid.is_empty())
    }

    /// Whether it is a time of the token's life.
    fn check_time(&self, now: i64) -> Result<(), Refused> {
        let why = if now.saturating_add(LEEWAY) < self.nbf {
            "service account token is not valid yet"
        } else if now.saturating_sub(LEEWAY) > self.exp {
            "service account token has expired"
        } else if now.saturating_add(LEEWAY) < self.iat {
            "service account token is issued in the future"
        } else {
            return Ok(());
        };
        Err(Refused::because(why))
    }
}

/// The groups of a namespace's accounts.
pub fn groups(namespace: &str) -> Vec<String> {
    vec!["system:serviceaccounts".into(), format!("system:serviceaccounts:{namespace}")]
}

/// Issues and checks tokens.
pub struct TokenIssuer {
    rules: TokenRules,
    key: SigningKey,
    /// Keys whose signatures are accepted: our own, and those of servers that issued before us.
    trusted: Vec<PublicKey>,
    /// What good tokens say.
    good: Good<Arc<Claims>>,
}

impl TokenIssuer {
    /// Reads the signing key and further public keys to accept.
    ///
    /// # Errors
    /// When a file cannot be read or holds no such key.
    pub fn load(
        rules: &TokenRules,
        signing: &Path,
        also_trusted: &[impl AsRef<Path>],
    ) -> anyhow::Result<Self> {
        let key = SigningKey::load(signing)?;
        let mut trusted = vec![key.public().clone()];
        for path in also_trusted {
            for found in PublicKey::load_all(path.as_ref())? {
                if !trusted.contains(&found) {
                    trusted.push(found);
                }
            }
        }
        Ok(Self { rules: rules.clone(), key, trusted, good: Good::default() })
    }

    /// The issuer's name.
    pub fn issuer(&self) -> &str {
        &self.rules.issuers[0]
    }

    /// For whom tokens are that nobody said otherwise about: this server.
    pub fn audiences(&self) -> &[String] {
        &self.rules.audiences
    }

    /// The longest life a token may be asked for, in seconds, if there is a limit.
    pub fn longest(&self) -> Option<i64> {
        self.rules.longest
    }

    /// The life of a token that is asked for: its seconds, and after how many its holder should have read a new one, if
    /// that is sooner. Only a pod's token for this server lives longer than was asked.
    pub fn lifetime(&self, seconds: i64, bound: &Bound, audiences: &[String]) -> (i64, Option<i64>) {
        let is_ours = audiences.iter().all(|audience| self.rules.audiences.contains(audience));
        if self.rules.extend && bound.pod.is_some() && seconds == POD_SECONDS && is_ours {
            return (EXTENDED_SECONDS, Some(seconds));
        }
        (seconds, None)
    }

    /// Signs a token.
    ///
    /// # Errors
    /// Only when the system has no randomness.
    pub fn sign(&self, claims: &Claims) -> anyhow::Result<String> {
        self.key.token(claims)
    }

    /// The keys by which others can check our tokens, as a JSON Web Key Set.
    pub fn key_set(&self) -> serde_json::Value {
        serde_json::json!({"keys": self.trusted.iter().map(PublicKey::json).collect::<Vec<_>>()})
    }

    /// What signatures of these keys are called.
    pub fn algorithms(&self) -> Vec<&'static str> {
        let mut algorithms: Vec<_> = self.trusted.iter().map(PublicKey::algorithm).collect();
        algorithms.sort_unstable();
        algorithms.dedup();
        algorithms
    }

    /// The claims of a token that we trust, that is alive at `now` and meant for one of `wanted`, and for which of them.
    ///
    /// # Errors
    /// When it is none of our tokens, or why it is not good.
    pub fn verify(
        &self,
        jwt: &Jwt<'_>,
        wanted: &[String],
        now: i64,
    ) -> Result<(Arc<Claims>, Vec<String>), Refused> {
        let claims = self.signed(jwt)?;
        let meant = if claims.aud.is_empty() { &self.rules.audiences } else { &claims.aud };
        let audiences: Vec<_> = wanted.iter().filter(|audience| meant.contains(audience)).cloned().collect();
        if audiences.is_empty() {
            let (meant, wanted) = (quoted(meant), quoted(wanted));
            return Err(Refused::Because(message!(
                "token audiences {meant} is invalid for the target audiences {wanted}"
            )));
        }
        claims.check_time(now)?;
        Ok((claims, audiences))
    }

    /// The claims of a token of our issuers that bears a signature we trust.
    fn signed(&self, jwt: &Jwt<'_>) -> Result<Arc<Claims>, Refused> {
        if let Some(claims) = self.good.get(jwt) {
            return Ok(claims);
        }
        let (is_ours, of_secrets) =
            (self.rules.issuers.contains(&jwt.issuer), jwt.issuer == account_token::ISSUER);
        if !is_ours && !of_secrets {
            return Err(Refused::Unknown);
        }
        let mut keys = jwt.candidates(&self.trusted);
        if keys.is_empty() {
            return Err(Refused::because("invalid signature, no keys found"));
        }
        // Ours are used in one way each.
        keys.retain(|key| key.algorithm() == jwt.algorithm());
        if !jwt.is_signed_by(&keys) {
            return Err(Refused::because("go-jose/go-jose: error in cryptographic primitive"));
        }
        let bound = serde_json::from_slice(&jwt.body);
        let claims = match bound {
            Ok(claims) if is_ours => claims,
            _ if of_secrets => secret_token::claims(&jwt.body)?,
            read => read.map_err(|why| Refused::Because(Message::of(why)))?,
        };
        let claims = Arc::new(claims);
        self.good.insert(jwt, Arc::clone(&claims));
        Ok(claims)
    }
}

#[cfg(test)]
mod tests;
