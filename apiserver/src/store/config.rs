//! Which store to use, from the command line's words to an open store.
//!
//! Invariant: a configuration that parses names exactly one store. Upstream counterpart: the
//! `--etcd-…` and `--storage-…` flags of kube-apiserver.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use super::{EmbeddedStore, EtcdConfig, EtcdStore, Store, StoreError};

/// Which store to use: `etcd:URL[,URL…]`, `file:PATH` or `memory`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreConfig {
    /// An etcd cluster.
    Etcd(EtcdConfig),
    /// A file of our own.
    File(PathBuf),
    /// Nothing that lasts.
    Memory,
}

/// The words do not name a store.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum StoreConfigError {
    /// Not one of the three forms.
    #[error("`{0}` is not a store: write etcd:http://HOST:PORT[,…], file:PATH or memory")]
    Unknown(String),
    /// An etcd address that is no URL.
    #[error("`{0}` is not an etcd address: write http://HOST:PORT or https://HOST:PORT")]
    Endpoint(String),
    /// https and http side by side.
    #[error("etcd addresses must be all http or all https")]
    MixedSchemes,
}

impl FromStr for StoreConfig {
    type Err = StoreConfigError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "memory" {
            return Ok(StoreConfig::Memory);
        }
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => Ok(StoreConfig::File(path.into())),
            Some(("etcd", endpoints)) if !endpoints.is_empty() => {
                let endpoints: Vec<String> =
                    endpoints.split(',').map(|e| e.trim_end_matches('/').to_owned()).collect();
                let host = |e: &str| {
                    let rest = e.strip_prefix("http://").or_else(|| e.strip_prefix("https://"));
                    rest.is_some_and(|rest| !rest.is_empty() && !rest.contains('/'))
                };
                if let Some(bad) = endpoints.iter().find(|e| !host(e)) {
                    return Err(StoreConfigError::Endpoint(bad.clone()));
                }
                let secure = endpoints.iter().filter(|e| e.starts_with("https:")).count();
                if secure != 0 && secure != endpoints.len() {
                    return Err(StoreConfigError::MixedSchemes);
                }
                Ok(StoreConfig::Etcd(EtcdConfig { endpoints, ..EtcdConfig::default() }))
            }
            _ => Err(StoreConfigError::Unknown(text.to_owned())),
        }
    }
}

/// Opens the store. An etcd that does not answer yet is no error, see [`Store::healthy`].
pub async fn open(config: &StoreConfig) -> Result<Arc<dyn Store>, StoreError> {
    Ok(match config {
        StoreConfig::Etcd(etcd) => Arc::new(EtcdStore::connect(etcd).await?),
        StoreConfig::File(path) => Arc::new(EmbeddedStore::open(path)?),
        StoreConfig::Memory => Arc::new(EmbeddedStore::memory()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_names_a_store() {
        let etcd = |endpoints: &[&str]| {
            let endpoints = endpoints.iter().map(|e| (*e).to_owned()).collect();
            Ok(StoreConfig::Etcd(EtcdConfig { endpoints, ..EtcdConfig::default() }))
        };
        let unknown = |text: &str| Err(StoreConfigError::Unknown(text.into()));
        let endpoint = |text: &str| Err(StoreConfigError::Endpoint(text.into()));
        for (text, expected) in [
            ("memory", Ok(StoreConfig::Memory)),
            ("file:/var/lib/x", Ok(StoreConfig::File("/var/lib/x".into()))),
            ("etcd:http://127.0.0.1:2379/", etcd(&["http://127.0.0.1:2379"])),
            ("etcd:https://a:1,https://b:2", etcd(&["https://a:1", "https://b:2"])),
            ("etcd:http://a:1,https://b:2", Err(StoreConfigError::MixedSchemes)),
            ("etcd:127.0.0.1:2379", endpoint("127.0.0.1:2379")),
            ("etcd:http://a:1,", endpoint("")),
            ("etcd:http://a:1/x", endpoint("http://a:1/x")),
            ("etcd:", unknown("etcd:")),
            ("file:", unknown("file:")),
            ("memory:", unknown("memory:")),
            ("", unknown("")),
        ] {
            assert_eq!(text.parse::<StoreConfig>(), expected, "{text}");
        }
    }
}
