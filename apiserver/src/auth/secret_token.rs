//! Tokens of service accounts that lie in Secrets of the type `kubernetes.io/service-account-token` and have no end: they
//! are good as long as their Secret holds them. The controller manager makes them (`account_tokens`).
//!
//! Counterpart of upstream's `serviceaccount/legacy.go`.

use std::collections::BTreeMap;

use api::{Message, account_token, message};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use serde::Deserialize;

use super::{
    Refused,
    service_account::{Bound, Claims, ObjectRef},
};
use crate::{
    resources::{BuiltIn, SECRETS, SERVICE_ACCOUNTS},
    watch_cache::WatchCache,
};

/// Of a Secret with this label, if it says anything, the token is not taken.
const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";

/// Reads the claims of one that bears a signature we trust.
///
/// # Errors
/// Claims that are missing or contradict each other.
pub fn claims(body: &[u8]) -> Result<Claims, Refused> {
    let written = serde_json::from_slice(body).map_err(|why| Refused::Because(Message::of(why)))?;
    let account_token::Claims { iss, sub, aud, namespace, secret, account, uid } = written;
    let all = [
        ("sub", &sub),
        ("namespace", &namespace),
        ("secretName", &secret),
        ("serviceAccountName", &account),
        ("serviceAccountUID", &uid),
    ];
    if let Some((missing, _)) = all.iter().find(|(_, claim)| claim.is_empty()) {
        return Err(Refused::Because(message!("{missing} claim is missing")));
    }
    if sub != account_token::subject(&namespace, &account) {
        return Err(Refused::because("sub claim is invalid"));
    }
    Ok(Claims {
        aud,
        exp: i64::MAX,
        iat: 0,
        iss,
        jti: String::new(),
        nbf: 0,
        sub,
        bound: Bound {
            namespace,
            serviceaccount: ObjectRef { name: account, uid },
            pod: None,
            secret: Some(ObjectRef { name: secret, uid: String::new() }),
            node: None,
            warnafter: None,
        },
    })
}

/// What is read of a Secret or account.
#[derive(Deserialize)]
struct Holder {
    metadata: HolderMeta,
    #[serde(default)]
    data: HolderData,
}

#[derive(Default, Deserialize)]
struct HolderData {
    token: Option<ByteString>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HolderMeta {
    uid: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    deletion_timestamp: Option<Timestamp>,
}

/// Whether the Secret holds this very token, and the account is the one that it was made for.
///
/// # Errors
/// Why it is not good, or not any more.
pub fn check(token: &str, claims: &Claims, cache: &WatchCache) -> Result<(), Refused> {
    let Bound { namespace, serviceaccount: account, secret, .. } = &claims.bound;
    let find = |resource: BuiltIn, name: &str| {
        let found = cache.resource(resource.prefix)?.get(&format!("{namespace}/{name}"))?;
        serde_json::from_slice::<Holder>(&found.json()).ok()
    };
    let secret = secret.as_ref().map(|secret| secret.name.as_str()).unwrap_or_default();
    let held = find(SECRETS, secret).filter(|held| held.metadata.deletion_timestamp.is_none());
    let Some(held) = held else { return Err(Refused::because("Token has been invalidated")) };
    // Its signature is ours, so how far they agree tells nobody anything.
    if held.data.token.as_ref().is_none_or(|held| held.0 != token.as_bytes()) {
        return Err(Refused::because("Token does not match server's copy"));
    }
    let name = &account.name;
    let why = match find(SERVICE_ACCOUNTS, name).map(|found| found.metadata) {
        None => message!("serviceaccounts {name:?} not found"),
        Some(found) if found.deletion_timestamp.is_some() => {
            message!("ServiceAccount {namespace}/{name} has been deleted")
        }
        Some(found) if found.uid != account.uid => {
            message!("ServiceAccount UID ({}) does not match claim ({})", found.uid, account.uid)
        }
        _ if held.metadata.labels.get(INVALID_SINCE).is_some_and(|since| !since.is_empty()) => message!(
            "the token in secret {namespace}/{secret} for service account {namespace}/{name} has been marked invalid. Use tokens from the TokenRequest API or manually created secret-based tokens, or remove the '{INVALID_SINCE}' label from the secret to temporarily allow use of this token"
        ),
        _ => return Ok(()),
    };
    Err(Refused::Because(why))
}

#[cfg(test)]
mod tests;
