//! JSON Web Tokens in the form that clients send (RFC 7515, compact), read and not yet believed; and those that were found
//! good.

use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use machinery::token_keys::PublicKey;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// How many keys are tried on a token that may be by several.
const MOST_TRIED: usize = 64;
/// How many tokens are remembered of those who sign with the same keys.
const MAX_REMEMBERED: usize = 4096;

/// A token's parts.
pub struct Jwt<'a> {
    token: &'a str,
    /// What the signature is about.
    signed: &'a str,
    signature: Vec<u8>,
    header: Header,
    /// Its claims, in JSON.
    pub body: Vec<u8>,
    /// Who has issued it, as it says itself.
    pub issuer: String,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: String,
    /// What readers must understand; we do not.
    crit: Option<Value>,
}

#[derive(Deserialize)]
struct Issuer {
    iss: String,
}

impl<'a> Jwt<'a> {
    /// Takes a token apart; `None` for what is none.
    pub fn read(token: &'a str) -> Option<Self> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, body) = signed.split_once('.')?;
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let header: Header = serde_json::from_slice(&decoded(header)?).ok()?;
        let body = decoded(body)?;
        let issuer: Issuer = serde_json::from_slice(&body).ok()?;
        let signature = decoded(signature)?;
        header.crit.is_none().then_some(Self { token, signed, signature, header, body, issuer: issuer.iss })
    }

    /// How it is signed, as it says itself.
    pub fn algorithm(&self) -> &str {
        &self.header.alg
    }

    /// Those of the keys that may have signed it: all when it names none, as upstream and go-oidc have it, up to a number.
    pub fn candidates<'k>(&self, keys: &'k [PublicKey]) -> Vec<&'k PublicKey> {
        let named = |key: &&PublicKey| self.header.kid.is_empty() || key.id() == self.header.kid;
        keys.iter().filter(named).take(MOST_TRIED).collect()
    }

    /// Whether one of these keys has signed it in the way that it says.
    pub fn is_signed_by(&self, keys: &[&PublicKey]) -> bool {
        keys.iter().any(|key| key.verify(&self.header.alg, self.signed.as_bytes(), &self.signature))
    }

    fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.token).into()
    }
}

/// What is known of tokens whose signatures were found good, by the tokens' digests: clients show theirs with every request,
/// and checking a signature takes longer than most of them. Nothing else is remembered of them.
pub struct Good<T>(Mutex<HashMap<[u8; 32], T>>);

impl<T> Default for Good<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Good<T> {
    /// What is known of a token.
    pub fn get(&self, jwt: &Jwt<'_>) -> Option<T> {
        self.0.lock().get(&jwt.digest()).cloned()
    }

    /// Remembers a token.
    pub fn insert(&self, jwt: &Jwt<'_>, known: T) {
        let mut good = self.0.lock();
        if good.len() >= MAX_REMEMBERED {
            good.clear();
        }
        good.insert(jwt.digest(), known);
    }
}

#[cfg(test)]
mod tests;
