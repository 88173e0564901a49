//! Service account tokens: JSON Web Tokens signed with ES256 (RFC 7519, RFC 7518), bound to an audience,
//! a lifetime and, for pods, to the pod.
//!
//! Written on `ring`, which TLS brings anyway: the JWT crates would bring a second cryptography library.

use std::{collections::HashMap, path::Path, sync::Arc};

use anyhow::{Context as _, anyhow};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
        UnparsedPublicKey,
    },
};
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer, pem::PemObject as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, SubjectPublicKeyInfo};

use super::User;

/// What a token says.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct Claims {
    /// For whom it is meant.
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
}

/// Name and uid of an object.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct ObjectRef {
    /// Name.
    pub name: String,
    /// Uid.
    pub uid: String,
}

impl Claims {
    /// The caller the token stands for.
    pub fn user(&self) -> User {
        let uid = self.bound.serviceaccount.uid.clone();
        let mut user = User::new(self.sub.clone(), uid, groups(&self.bound.namespace));
        let mut also = |name: &str, value: String| {
            user.extra.insert(format!("authentication.kubernetes.io/{name}"), vec![value]);
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
}

/// The groups of a namespace's accounts.
pub fn groups(namespace: &str) -> Vec<String> {
    vec!["system:serviceaccounts".into(), format!("system:serviceaccounts:{namespace}")]
}

/// Issues and checks tokens.
pub struct TokenIssuer {
    issuer: String,
    key: EcdsaKeyPair,
    /// Public keys whose signatures are accepted: our own, and those of servers that issued before us.
    trusted: Vec<Vec<u8>>,
    /// What tokens say whose signatures were found good, by the tokens' digests: clients show theirs with every
    /// request, and checking a signature takes longer than most of them.
    good: Mutex<HashMap<[u8; 32], Arc<Claims>>>,
}

/// How many tokens are remembered.
const MAX_REMEMBERED: usize = 4096;

impl TokenIssuer {
    /// Reads the signing key (PKCS#8 PEM, P-256) and further public keys to accept.
    ///
    /// # Errors
    /// When a file cannot be read or holds no such key.
    pub fn load(issuer: &str, signing: &Path, also_trusted: &[impl AsRef<Path>]) -> anyhow::Result<Self> {
        let key = signing_key(signing)?;
        let mut trusted = vec![key.public_key().as_ref().to_vec()];
        for path in also_trusted {
            trusted.push(public_key(path.as_ref())?);
        }
        Ok(Self { issuer: issuer.to_owned(), key, trusted, good: Mutex::default() })
    }

    /// The issuer's name, also the default audience.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Signs a token.
    ///
    /// # Errors
    /// Only when the system has no randomness.
    pub fn sign(&self, claims: &Claims) -> anyhow::Result<String> {
        let kid = key_id(self.key.public_key().as_ref());
        let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"ES256","kid":"{kid}","typ":"JWT"}}"#));
        let body = URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims)?);
        let signed = format!("{header}.{body}");
        let signature = self
            .key
            .sign(&SystemRandom::new(), signed.as_bytes())
            .map_err(|_| anyhow!("cannot sign a token"))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The keys by which others can check our tokens, as a JSON Web Key Set.
    pub fn key_set(&self) -> serde_json::Value {
        let keys = self.trusted.iter().filter_map(|point| {
            // An uncompressed point: a mark and the two coordinates.
            let (x, y) = (point.get(1..33)?, point.get(33..65)?);
            Some(serde_json::json!({
                "use": "sig", "kty": "EC", "crv": "P-256", "alg": "ES256", "kid": key_id(point),
                "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
            }))
        });
        serde_json::json!({"keys": keys.collect::<Vec<_>>()})
    }

    /// The claims of a token that we trust, meant for us and alive.
    pub fn verify(&self, token: &str) -> Option<Arc<Claims>> {
        let audience = [self.issuer.as_str()];
        self.verify_for(token, &audience, jiff::Timestamp::now().as_second())
    }

    /// The claims of a token that we trust, meant for one of `audiences` and alive at `now`.
    pub fn verify_for(&self, token: &str, audiences: &[&str], now: i64) -> Option<Arc<Claims>> {
        let claims = self.signed(token)?;
        let alive = claims.nbf <= now && now < claims.exp;
        let ours = claims.iss == self.issuer && claims.aud.iter().any(|a| audiences.contains(&a.as_str()));
        (alive && ours).then_some(claims)
    }

    /// The claims of a token that bears a signature we trust.
    fn signed(&self, token: &str) -> Option<Arc<Claims>> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        if let Some(claims) = self.good.lock().get(&digest) {
            return Some(claims.clone());
        }
        let claims = Arc::new(self.check_signature(token)?);
        let mut good = self.good.lock();
        if good.len() >= MAX_REMEMBERED {
            good.clear();
        }
        good.insert(digest, claims.clone());
        Some(claims)
    }

    fn check_signature(&self, token: &str) -> Option<Claims> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, body) = signed.split_once('.')?;
        let header: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
        if header.get("alg")?.as_str()? != "ES256" {
            return None;
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let good = self.trusted.iter().any(|key| {
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key)
                .verify(signed.as_bytes(), &signature)
                .is_ok()
        });
        if !good {
            return None;
        }
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).ok()?).ok()
    }
}

/// What a key is called: the digest of its DER form, as upstream has it.
fn key_id(point: &[u8]) -> String {
    /// What DER says of every P-256 key before its point.
    const P256: [u8; 26] = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
        0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
    ];
    URL_SAFE_NO_PAD.encode(Sha256::digest([&P256[..], point].concat()))
}

fn signing_key(path: &Path) -> anyhow::Result<EcdsaKeyPair> {
    let der = PrivatePkcs8KeyDer::from_pem_file(path)
        .with_context(|| format!("{} holds no PKCS#8 private key", path.display()))?;
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der(), &SystemRandom::new())
        .map_err(|e| anyhow!("{} is not a P-256 key: {e}", path.display()))
}

/// The public key in a file that holds it, or the private key it belongs to.
fn public_key(path: &Path) -> anyhow::Result<Vec<u8>> {
    if let Ok(der) = SubjectPublicKeyInfoDer::from_pem_file(path) {
        let (_, info) = SubjectPublicKeyInfo::from_der(&der)
            .map_err(|e| anyhow!("{} holds a malformed public key: {e}", path.display()))?;
        return Ok(info.subject_public_key.data.to_vec());
    }
    Ok(signing_key(path)?.public_key().as_ref().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer(dir: &Path, name: &str) -> TokenIssuer {
        let path = dir.join(name);
        let key = rcgen::KeyPair::generate().unwrap();
        std::fs::write(&path, key.serialize_pem()).unwrap();
        TokenIssuer::load("https://issuer", &path, &[] as &[&Path]).unwrap()
    }

    fn claims(exp: i64) -> Claims {
        Claims {
            aud: vec!["https://issuer".into()],
            exp,
            iat: 10,
            iss: "https://issuer".into(),
            jti: "1".into(),
            nbf: 10,
            sub: "system:serviceaccount:a:b".into(),
            bound: Bound {
                namespace: "a".into(),
                serviceaccount: ObjectRef { name: "b".into(), uid: "u".into() },
                pod: None,
                secret: None,
                node: None,
            },
        }
    }

    #[test]
    fn only_own_living_tokens_are_accepted() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, other) = (issuer(dir.path(), "a"), issuer(dir.path(), "b"));
        let token = ours.sign(&claims(100)).unwrap();
        let for_us = ["https://issuer"];
        // The second time it is remembered; that makes it live no longer.
        for _ in 0..2 {
            assert_eq!(ours.verify_for(&token, &for_us, 50), Some(Arc::new(claims(100))));
        }
        assert_eq!(ours.verify_for(&token, &for_us, 100), None, "expired");
        assert_eq!(ours.verify_for(&token, &["vault"], 50), None, "another audience");
        assert_eq!(other.verify_for(&token, &for_us, 50), None, "another key");
        assert_eq!(ours.verify_for(&format!("{token}x"), &for_us, 50), None, "tampered");
        assert_eq!(ours.verify_for("a.b.c", &for_us, 50), None);
        // Others find the key that signed by its name.
        let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
        let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
        let key = ours.key_set()["keys"][0].clone();
        assert_eq!(key["kid"], header["kid"]);
        let point = [
            &[4][..],
            &["x", "y"].map(|c| URL_SAFE_NO_PAD.decode(key[c].as_str().unwrap()).unwrap()).concat(),
        ];
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point.concat());
        assert!(key.verify(signed.as_bytes(), &signature).is_ok());
    }
}
