//! Tokens of service accounts that lie in Secrets and have no end: what such a Secret says, and what its token does.
//! Upstream: the first form of `pkg/serviceaccount` (`legacy.go`).

use serde::{Deserialize, Serialize};

/// The type of these Secrets.
pub const TYPE: &str = "kubernetes.io/service-account-token";
/// The annotation that names the account, and that of the account's uid.
pub const NAME: &str = "kubernetes.io/service-account.name";
/// See [`NAME`].
pub const UID: &str = "kubernetes.io/service-account.uid";
/// Who issues the tokens.
pub const ISSUER: &str = "kubernetes/serviceaccount";

/// What a token says; empty where it says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Claims {
    /// [`ISSUER`]
    pub iss: String,
    /// `system:serviceaccount:<namespace>:<name>`
    pub sub: String,
    /// For whom it is meant; for the API server when there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aud: Vec<String>,
    /// Where account and Secret are.
    #[serde(rename = "kubernetes.io/serviceaccount/namespace")]
    pub namespace: String,
    /// The Secret.
    #[serde(rename = "kubernetes.io/serviceaccount/secret.name")]
    pub secret: String,
    /// The account.
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.name")]
    pub account: String,
    /// Which account of that name.
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.uid")]
    pub uid: String,
}

impl Claims {
    /// Those of a token in a Secret for an account of its namespace.
    pub fn new(namespace: &str, secret: &str, account: &str, uid: &str) -> Self {
        Self {
            iss: ISSUER.to_owned(),
            sub: subject(namespace, account),
            aud: Vec::new(),
            namespace: namespace.to_owned(),
            secret: secret.to_owned(),
            account: account.to_owned(),
            uid: uid.to_owned(),
        }
    }
}

/// What a service account is called as a user.
pub fn subject(namespace: &str, account: &str) -> String {
    format!("system:serviceaccount:{namespace}:{account}")
}
