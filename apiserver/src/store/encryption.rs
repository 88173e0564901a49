//! A store whose values are encrypted on their way in and decrypted on their way out.
//!
//! Invariant: nothing above it sees ciphertext, nothing below it the plain values of what the configuration names; the
//! bytes are upstream's, so that either reads what the other has written. What does not decrypt is an error to who reads it
//! alone; among others its value is empty, which no object's is. Upstream counterpart: `k8s.io/apiserver/pkg/storage/value`.

mod cipher;
mod config;
mod counters;

use std::{sync::Arc, time::Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use machinery::files::Current;
use tokio_util::sync::CancellationToken;

use super::{Change, ChangeStream, Committed, KeyValue, Loaded, Op, Revision, Store, StoreError};
use cipher::Cipher;
pub use config::{EncryptionConfig, EncryptionError};
pub use counters::Transformations;

/// What all encrypted values begin with.
const ENCRYPTED: &[u8] = b"k8s:enc:";

/// What is said of a value that no provider knows.
const NO_PREFIX: &str = "no matching prefix found";

/// What is said of a value that none of a provider's keys has encrypted, and of one that its key does not decrypt.
fn in_upstreams_words(provider: &str) -> (&'static str, &'static str) {
    const NO_KEY: &str = "no matching key was found for the provided AES transformer";
    match provider {
        "aesgcm" => (NO_KEY, "cipher: message authentication failed"),
        "aescbc" => (NO_KEY, "invalid padding on input"),
        _ => (
            "no matching key was found for the provided Secretbox transformer",
            "output array was not large enough for encryption",
        ),
    }
}

/// One way to store a value.
enum Provider {
    /// As it is.
    Identity,
    /// Encrypted, behind a prefix that names provider and key.
    Cipher { name: &'static str, prefix: Vec<u8>, cipher: Box<dyn Cipher> },
}

/// Group and resource.
type Name = (String, String);

/// Which providers are for which resources: the first one writes, all read.
struct Rules {
    entries: Vec<(Vec<Name>, Vec<Provider>)>,
    counters: Transformations,
}

impl Rules {
    fn new(entries: Vec<(Vec<Name>, Vec<Provider>)>) -> Result<Self, EncryptionError> {
        let shown = |(group, resource): &Name| match group.as_str() {
            "" if resource != "*" => resource.clone(),
            _ => format!("{resource}.{group}"),
        };
        for (i, (names, _)) in entries.iter().enumerate() {
            for name in names {
                let masks = |other: &&Name| other.1 == "*" && (other.0 == name.0 || other.0 == "*");
                if let Some(earlier) = entries[..i].iter().flat_map(|(names, _)| names).find(masks) {
                    return Err(EncryptionError::Masked(shown(name), shown(earlier)));
                }
            }
        }
        Ok(Self { entries, counters: Transformations::default() })
    }

    /// The providers for a key of the store; none for what is stored as it is.
    fn of(&self, key: &str) -> Vec<&Provider> {
        let Some((group, resource)) = resource_of(key) else { return Vec::new() };
        // The most special rule; a resource that is named again has the later providers as well.
        [(group, resource), (group, "*"), ("*", "*")]
            .into_iter()
            .map(|wanted| {
                let named = |names: &[Name]| names.iter().any(|(g, r)| (g.as_str(), r.as_str()) == wanted);
                let named = self.entries.iter().filter(|(names, _)| named(names));
                named.flat_map(|(_, providers)| providers).collect()
            })
            .find(|found: &Vec<_>| !found.is_empty())
            .unwrap_or_default()
    }

    fn seal(&self, key: &str, value: Bytes) -> Result<Bytes, StoreError> {
        let begun = Instant::now();
        match self.of(key).first() {
            None | Some(Provider::Identity) => Ok(value),
            Some(Provider::Cipher { name, prefix, cipher }) => {
                let sealed = cipher.seal(&value, key);
                self.counters.count(resource_of(key), "to_storage", name, begun, sealed.is_some());
                let sealed = sealed.ok_or_else(|| StoreError::TooLarge("too long to be encrypted".into()))?;
                Ok([prefix.as_slice(), &sealed].concat().into())
            }
        }
    }

    /// The plain value, and whether another provider than the first one had written it.
    fn open(&self, key: &str, value: Bytes) -> Result<(Bytes, bool), StoreError> {
        let (providers, mut why, mut by, begun) = (self.of(key), NO_PREFIX, "unknown", Instant::now());
        if providers.is_empty() {
            let why = "identity transformer tried to read encrypted data";
            let encrypted = value.starts_with(ENCRYPTED);
            return if encrypted { Err(unreadable(key, why)) } else { Ok((value, false)) };
        }
        let count = |by, is_done| self.counters.count(resource_of(key), "from_storage", by, begun, is_done);
        for (i, provider) in providers.into_iter().enumerate() {
            match provider {
                Provider::Identity if !value.starts_with(ENCRYPTED) => {
                    count("identity", true);
                    return Ok((value, i != 0));
                }
                Provider::Identity => {}
                Provider::Cipher { name, prefix, cipher } => {
                    let (no_key, failed) = in_upstreams_words(name);
                    if let Some(sealed) = value.strip_prefix(prefix.as_slice()) {
                        if let Some(plain) = cipher.open(sealed, key) {
                            count(name, true);
                            return Ok((plain.into(), i != 0));
                        }
                        (why, by) = (failed, *name);
                    } else if why == NO_PREFIX && value.starts_with(format!("k8s:enc:{name}:v1:").as_bytes())
                    {
                        (why, by) = (no_key, *name);
                    }
                }
            }
        }
        count(by, false);
        Err(unreadable(key, why))
    }

    fn open_one(&self, found: KeyValue) -> Result<KeyValue, StoreError> {
        let (value, _) = self.open(&found.key, found.value)?;
        Ok(KeyValue { value, ..found })
    }

    /// The plain value of one of several; nothing, which the log tells, for what cannot be read.
    fn open_some(&self, key: &str, value: &mut Bytes) {
        let opened = self.open(key, std::mem::take(value));
        *value = opened.map_or_else(
            |error| {
                tracing::error!(%error, "Cannot decrypt what is stored");
                Bytes::new()
            },
            |(plain, _)| plain,
        );
    }
}

fn unreadable(key: &str, why: &'static str) -> StoreError {
    StoreError::Unreadable { key: key.to_owned(), why }
}

/// Group and resource of what a key holds; `None` for what is no object.
fn resource_of(key: &str) -> Option<(&str, &str)> {
    let (first, rest) = key.strip_prefix(crate::watch_cache::REGISTRY)?.split_once('/')?;
    // Resources have no dots, and the groups without one are all ours.
    match first {
        "skiff" => None,
        "apps" | "autoscaling" | "batch" | "policy" => Some((first, rest.split('/').next()?)),
        _ if first.contains('.') => Some((first, rest.split('/').next()?)),
        _ => Some(("", first)),
    }
}

/// The store.
pub(super) struct EncryptedStore {
    inner: Arc<dyn Store>,
    current: Arc<Current<Arc<Rules>>>,
}

impl EncryptedStore {
    /// A store that keeps its values in another one. Without a configuration all is stored as it is, and what was
    /// encrypted under one is told from what is damaged.
    ///
    /// # Errors
    /// When the configuration is wrong.
    pub(super) fn new(
        inner: Arc<dyn Store>,
        config: Option<EncryptionConfig>,
        counters: Transformations,
    ) -> Result<Self, EncryptionError> {
        let Some(EncryptionConfig { file, reload }) = config else {
            let plain = Arc::new(Rules::new(Vec::new())?);
            let read = move |_: Option<&_>| Ok::<_, EncryptionError>(Arc::clone(&plain));
            return Ok(Self { inner, current: Arc::new(Current::read(Vec::new(), read)?) });
        };
        let watched = reload.then(|| file.clone()).into_iter().collect();
        let read = move |_: Option<&_>| {
            let rules = config::parse(&file, &config::content(&file)?)?;
            Ok(Arc::new(Rules { counters: counters.clone(), ..rules }))
        };
        Ok(Self { inner, current: Arc::new(Current::read(watched, read)?) })
    }

    fn rules(&self) -> Arc<Rules> {
        self.current.get()
    }
}

#[async_trait]
impl Store for EncryptedStore {
    async fn commit(&self, mut ops: Vec<Op>) -> Result<Committed, StoreError> {
        let rules = self.rules();
        for op in &mut ops {
            op.value = op.value.take().map(|value| rules.seal(&op.key, value)).transpose()?;
        }
        Ok(match self.inner.commit(ops).await? {
            Committed::Conflict { index, current } => Committed::Conflict {
                index,
                current: current.map(|found| rules.open_one(found)).transpose()?,
            },
            done => done,
        })
    }

    async fn get(&self, key: &str) -> Result<Option<KeyValue>, StoreError> {
        self.inner.get(key).await?.map(|found| self.rules().open_one(found)).transpose()
    }

    async fn load(&self, prefix: &str, at: Option<Revision>) -> Result<Loaded, StoreError> {
        let (rules, mut loaded) = (self.rules(), self.inner.load(prefix, at).await?);
        loaded.items.iter_mut().for_each(|found| rules.open_some(&found.key, &mut found.value));
        Ok(loaded)
    }

    async fn revision(&self) -> Result<Revision, StoreError> {
        self.inner.revision().await
    }

    fn local_revision(&self) -> Option<Revision> {
        self.inner.local_revision()
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<ChangeStream, StoreError> {
        let (changes, current) = (self.inner.watch(prefix, after).await?, Arc::clone(&self.current));
        Ok(Box::pin(changes.map(move |batch| {
            let (rules, mut batch) = (current.get(), batch?);
            for change in &mut batch.changes {
                if let Change::Put { key, value, .. } = change {
                    rules.open_some(key, value);
                }
            }
            Ok(batch)
        })))
    }

    async fn is_stale(&self, key: &str) -> Result<bool, StoreError> {
        let Some(found) = self.inner.get(key).await? else { return Ok(false) };
        Ok(self.rules().open(key, found.value)?.1)
    }

    async fn healthy(&self) -> Result<(), StoreError> {
        self.inner.healthy().await
    }

    async fn upkeep(&self, stop: &CancellationToken) {
        self.inner.upkeep(stop).await;
    }
}

#[cfg(test)]
mod tests;
