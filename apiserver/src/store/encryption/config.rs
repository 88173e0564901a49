//! The file that says what is encrypted, read and checked in upstream's words.
//!
//! Counterparts: `k8s.io/apiserver/pkg/apis/apiserver/validation/validation_encryption.go` and
//! `pkg/server/options/encryptionconfig/config.go`.

use std::path::{Path as FilePath, PathBuf};

use api::{
    Message,
    field::{Errors, Path},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

use super::{Provider, Rules, cipher};
use crate::body::yaml::read_file;

/// Where the configuration is.
#[derive(Debug, Clone)]
pub struct EncryptionConfig {
    /// The file.
    pub file: PathBuf,
    /// Whether it is read again when it has changed.
    pub reload: bool,
}

/// Why there is no encryption as wanted.
#[derive(Debug, thiserror::Error)]
pub enum EncryptionError {
    /// The file cannot be read.
    #[error("error reading encryption provider configuration file {0:?}: {1}")]
    Read(PathBuf, std::io::Error),
    /// There is nothing in it.
    #[error("encryption provider configuration file {0:?} is empty")]
    Empty(PathBuf),
    /// It is no EncryptionConfiguration.
    #[error("error decoding encryption provider configuration file {0:?}: {1}")]
    Decode(PathBuf, Message),
    /// What it says makes no sense.
    #[error("error while parsing file: {0}")]
    Invalid(Message),
    /// A rule that an earlier one leaves nothing.
    #[error("resource {0:?} is masked by earlier rule {1:?}")]
    Masked(String, String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct File {
    #[serde(default)]
    resources: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    providers: Vec<Wanted>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    aesgcm: Option<Keys>,
    aescbc: Option<Keys>,
    secretbox: Option<Keys>,
    identity: Option<Identity>,
    kms: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    #[serde(default)]
    keys: Vec<Key>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    #[serde(default)]
    name: String,
    #[serde(default)]
    secret: String,
}

/// The bytes of the file.
pub(super) fn content(file: &FilePath) -> Result<Vec<u8>, EncryptionError> {
    let bytes = std::fs::read(file).map_err(|why| EncryptionError::Read(file.into(), why))?;
    if bytes.is_empty() { Err(EncryptionError::Empty(file.into())) } else { Ok(bytes) }
}

/// The rules that they are.
pub(super) fn parse(file: &FilePath, bytes: &[u8]) -> Result<Rules, EncryptionError> {
    let config: File = read_file(bytes, "EncryptionConfiguration", &["apiserver.config.k8s.io/v1"])
        .map_err(|why| EncryptionError::Decode(file.into(), why))?;
    let (mut errors, mut rules, root) = (Errors::default(), Vec::new(), Path::new("resources"));
    if config.resources.is_empty() {
        errors.required(&root, "at least one resources is required");
    }
    for (i, entry) in config.resources.iter().enumerate() {
        let (r, p) = (root.index(i).child("resources"), root.index(i).child("providers"));
        check_resources(&entry.resources, &r, &mut errors);
        if entry.providers.is_empty() {
            errors.required(&p, format_args!("at least one {p} is required"));
        }
        let mut providers = Vec::new();
        for (j, wanted) in entry.providers.iter().enumerate() {
            providers.extend(provider(wanted, &p.index(j), &mut errors));
        }
        rules.push((entry.resources.iter().map(|name| group_resource(name)).collect(), providers));
    }
    errors.aggregate().map_or_else(|| Rules::new(rules), |why| Err(EncryptionError::Invalid(why)))
}

/// `resource.group` taken apart.
fn group_resource(text: &str) -> (String, String) {
    let (resource, group) = text.split_once('.').unwrap_or((text, ""));
    (group.into(), resource.into())
}

fn check_resources(names: &[String], at: &Path, errors: &mut Errors) {
    if names.is_empty() {
        errors.required(at, format_args!("at least one {at} is required"));
    }
    let parsed: Vec<_> = names.iter().map(|name| group_resource(name)).collect();
    let pairs =
        || (0..parsed.len()).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| (&parsed[i], &parsed[j]));
    if pairs().any(|(a, b)| a == b) {
        errors.invalid(at, names, "the same resource cannot be specified multiple times");
    }
    let all = |(group, resource): &(String, String)| group == "*" && resource == "*";
    let overlap = |(a, b): (&(String, String), &(String, String))| {
        a != b && (all(a) || all(b) || a.0 == b.0 && (a.1 == "*" || b.1 == "*"))
    };
    if pairs().any(overlap) {
        errors.invalid(
            at,
            names,
            "using overlapping resources such as 'secrets' and '*.' in the same resource list is not allowed as they will be masked",
        );
    }
    for (i, (name, (group, resource))) in names.iter().zip(&parsed).enumerate() {
        let wrong = match (group.as_str(), resource.as_str()) {
            _ if name.chars().any(char::is_uppercase) => "resource name should not contain capital letters",
            _ if name == "*" => {
                "use '*.' to encrypt all the resources from core API group or *.* to encrypt all resources"
            }
            ("", "apiserveripinfo" | "serviceipallocations" | "servicenodeportallocations") => {
                "resources which do not have REST API/s cannot be encrypted"
            }
            ("events.k8s.io", _) => {
                "'*.events.k8s.io' objects are stored using the 'events' API group in etcd. Use 'events' instead in the config file"
            }
            ("extensions", _) => "'extensions' group has been removed and cannot be used for encryption",
            ("*", resource) if resource != "*" => {
                "encrypting the same resource across groups is not supported"
            }
            _ => continue,
        };
        errors.invalid(&at.index(i), name, wrong);
    }
}

/// The keys of one provider in their order.
fn provider(wanted: &Wanted, at: &Path, errors: &mut Errors) -> Vec<Provider> {
    let Wanted { aesgcm, aescbc, secretbox, identity, kms } = wanted;
    let with_keys = [("aesgcm", aesgcm), ("aescbc", aescbc), ("secretbox", secretbox)];
    let mut found = with_keys.iter().filter_map(|(name, keys)| Some((*name, keys.as_ref()?)));
    match (found.next(), identity, kms) {
        (Some((name, keys)), None, None) if found.next().is_none() => return ciphers(name, &keys.keys, at, errors),
        (None, Some(_), None) => return vec![Provider::Identity],
        (None, None, Some(_)) => errors.forbidden(&at.child("kms"), "KMS providers are not supported"),
        (None, None, None) => errors.invalid(
            at,
            "",
            "provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, Secretbox, Identity",
        ),
        _ => errors.invalid(
            at,
            "REDACTED",
            "more than one provider specified in a single element, should split into different list elements",
        ),
    }
    Vec::new()
}

fn ciphers(name: &'static str, keys: &[Key], at: &Path, errors: &mut Errors) -> Vec<Provider> {
    let at = at.child(name).child("keys");
    if keys.is_empty() {
        errors.required(&at, "at least one keys is required");
    }
    let mut made = Vec::new();
    for (i, key) in keys.iter().enumerate() {
        let (named, secret) = (at.index(i).child("name"), at.index(i).child("secret"));
        if key.name.is_empty() {
            errors.required(&named, "name is a mandatory field for a key");
        }
        if key.secret.is_empty() {
            errors.required(&secret, "secret is a mandatory field for a key");
            continue;
        }
        let Ok(bytes) = STANDARD.decode(&key.secret) else {
            errors.invalid(&secret, "REDACTED", "secrets must be base64 encoded");
            continue;
        };
        match cipher::make(name, &bytes) {
            Some(cipher) => {
                let prefix = format!("k8s:enc:{name}:v1:{}:", key.name).into_bytes();
                made.push(Provider::Cipher { name, prefix, cipher });
            }
            None => {
                let sizes = if name == "secretbox" { "[32]" } else { "[16 24 32]" };
                let length = bytes.len();
                errors.invalid(
                    &secret,
                    "REDACTED",
                    format_args!(
                        "secret is not of the expected length, got {length}, expected one of {sizes}"
                    ),
                );
            }
        }
    }
    made
}
