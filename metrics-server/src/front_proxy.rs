//! Who may ask: the API server alone, which passes on what its callers may do. It shows a certificate of an authority that
//! the ConfigMap `extension-apiserver-authentication` names, and who calls in a header.
//!
//! Upstream counterpart: `authentication/request/headerrequest`.

use std::sync::Arc;

use anyhow::Context as _;
use api::status::Status;
use http::HeaderMap;
use k8s_openapi::api::core::v1::ConfigMap;
use machinery::cache::{Cache, Selectors};
use machinery::pki::Subject;
use machinery::serve::Peer;
use machinery::tasks::Tasks;
use machinery::tls::ClientAuthorities;

const NAMESPACE: &str = "kube-system";
const CONFIG: &str = "extension-apiserver-authentication";
const AUTHORITY: &str = "requestheader-client-ca-file";

/// Knows the API server.
pub struct FrontProxy {
    config: Cache<ConfigMap>,
    authorities: Arc<ClientAuthorities>,
    /// Where the authorities are kept: they are read again when they change.
    _folder: tempfile::TempDir,
}

impl FrontProxy {
    /// Reads who is trusted, and goes on doing so; waits until there is somebody.
    ///
    /// # Errors
    /// When there is no place for a file, or what is said is none.
    pub async fn start(client: kube::Client, tasks: &Tasks) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("no place for the authorities of callers")?;
        let file = folder.path().join("authorities.crt");
        let selectors = Selectors::fields(format!("metadata.name={CONFIG}"));
        let config: Cache<ConfigMap> =
            Cache::start(kube::Api::namespaced(client, NAMESPACE), selectors, tasks);
        let mut changes = config.subscribe();
        while entry(&config, AUTHORITY).is_none() {
            changes.changed().await;
        }
        let known = entry(&config, AUTHORITY).unwrap_or_default();
        std::fs::write(&file, known).with_context(|| format!("cannot write {}", file.display()))?;
        let authorities = Arc::new(ClientAuthorities::load(&file)?);
        config.on_change(move |change| {
            let data = change.new.as_ref().and_then(|config| config.data.as_ref());
            if let Some(known) = data.and_then(|data| data.get(AUTHORITY))
                && let Err(error) = std::fs::write(&file, known)
            {
                tracing::warn!(%error, "The authorities of callers stay as they were");
            }
        });
        Ok(Self { config, authorities, _folder: folder })
    }

    /// Who vouches for callers.
    pub fn authorities(&self) -> Arc<ClientAuthorities> {
        Arc::clone(&self.authorities)
    }

    /// Whether a request comes from the API server.
    ///
    /// # Errors
    /// 401.
    pub fn check(&self, peer: &Peer, headers: &HeaderMap) -> Result<(), Status> {
        let shown = peer.certificate.as_ref().and_then(|shown| shown.certificate().ok());
        let subject = shown.and_then(|shown| Subject::of(shown).ok().flatten());
        let allowed = list(&self.config, "requestheader-allowed-names");
        let users = list(&self.config, "requestheader-username-headers");
        let is_named = users.iter().any(|name| headers.get(name).is_some_and(|user| !user.is_empty()));
        match subject {
            Some(subject) if is_named && (allowed.is_empty() || allowed.contains(&subject.user)) => Ok(()),
            _ => Err(Status::unauthorized()),
        }
    }
}

fn entry(config: &Cache<ConfigMap>, key: &str) -> Option<String> {
    config.get(Some(NAMESPACE), CONFIG)?.data.as_ref()?.get(key).cloned()
}

/// An entry that is a list in JSON.
fn list(config: &Cache<ConfigMap>, key: &str) -> Vec<String> {
    entry(config, key).and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}
