//! Which store to use, from the command line's words to an open store.
//!
//! Invariant: a configuration that parses names exactly one store. Upstream counterpart: the
//! `--etcd-…` and `--storage-…` flags of kube-apiserver.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use super::encryption::{EncryptedStore, EncryptionConfig, EncryptionError, Transformations};
use super::{EmbeddedStore, EtcdConfig, EtcdStore, Store, StoreError};

/// Which store to use: `etcd:URL[,URL…]`, `etcd:unix:///PATH`, `file:PATH` or `memory`.
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
    #[error("`{0}` is not a store: write etcd:http://HOST:PORT[,…], etcd:unix:///PATH, file:PATH or memory")]
    Unknown(String),
    /// An etcd address that is no URL.
    #[error("`{0}` is not an etcd address: write http://HOST:PORT or https://HOST:PORT")]
    Endpoint(String),
    /// Certificates or credentials for an etcd that is not the store.
    #[error("--etcd-… flags are about etcd, but the store is another")]
    NoEtcd,
    /// Certificates for connections without TLS.
    #[error("--etcd-cafile, --etcd-certfile and --etcd-keyfile need https:// addresses")]
    NoTls,
    /// A file with a name and a password that cannot be read.
    #[error("{0}: cannot read it, or it is not NAME:PASSWORD")]
    User(PathBuf),
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
            // A path may hold anything, also commas.
            Some(("etcd", socket)) if socket.starts_with("unix:///") => {
                let endpoints = vec![socket.to_owned()];
                Ok(StoreConfig::Etcd(EtcdConfig { endpoints, ..EtcdConfig::default() }))
            }
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

impl StoreConfig {
    /// The same store, reached with the authority of its certificates (PEM), our certificate and its key (PEM), and what a file
    /// holds: `NAME:PASSWORD`.
    ///
    /// # Errors
    /// When they do not fit the store.
    pub fn with_access(
        mut self,
        ca_file: Option<PathBuf>,
        identity: Option<(PathBuf, PathBuf)>,
        user_file: Option<PathBuf>,
    ) -> Result<Self, StoreConfigError> {
        let tls = ca_file.is_some() || identity.is_some();
        let Self::Etcd(etcd) = &mut self else {
            let any = tls || user_file.is_some();
            return if any { Err(StoreConfigError::NoEtcd) } else { Ok(self) };
        };
        if tls && etcd.endpoints.iter().any(|e| !e.starts_with("https:")) {
            return Err(StoreConfigError::NoTls);
        }
        etcd.ca_file = ca_file;
        (etcd.cert_file, etcd.key_file) = identity.unzip();
        if let Some(file) = user_file {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            let user =
                text.trim_end_matches(['\n', '\r']).split_once(':').filter(|(name, _)| !name.is_empty());
            let (name, password) = user.ok_or(StoreConfigError::User(file))?;
            etcd.user = Some((name.to_owned(), password.to_owned()));
        }
        Ok(self)
    }
}

/// Opens the store for an API server. An etcd that does not answer yet is no error, see [`Store::healthy`].
/// What `encryption` says is encrypted in it.
///
/// # Errors
/// When it cannot be opened, or the configuration of the encryption is wrong.
pub async fn open(
    config: &StoreConfig,
    encryption: Option<&EncryptionConfig>,
    counters: &Transformations,
) -> Result<Arc<dyn Store>, OpenError> {
    let store: Arc<dyn Store> = match config {
        StoreConfig::Etcd(etcd) => Arc::new(EtcdStore::connect(etcd).await?.for_a_server()),
        StoreConfig::File(path) => Arc::new(EmbeddedStore::open(path)?),
        StoreConfig::Memory => Arc::new(EmbeddedStore::memory()),
    };
    Ok(Arc::new(EncryptedStore::new(store, encryption.cloned(), counters.clone())?))
}

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It does not open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It cannot be encrypted as wanted.
    #[error("failed to load encryption provider config: {0}")]
    Encryption(#[from] EncryptionError),
}

#[cfg(test)]
mod tests;
