//! TLS set-up from PEM files, with ring as the only cryptography.
//!
//! What a server or a client shows, and who vouches for a server's clients ([`ClientAuthorities`]), is read again when
//! the files change; who vouches for a client's server is read once. Upstream counterpart: component-base's `cert` options
//! and client-go's `transport`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SignatureScheme};

use crate::files::Current;
use crate::pki;

mod clients;

/// That the other end has the certificate's key, for verifiers with a field `provider`.
macro_rules! signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            let algorithms = &self.provider.signature_verification_algorithms;
            rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            let algorithms = &self.provider.signature_verification_algorithms;
            rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.provider.signature_verification_algorithms.supported_schemes()
        }
    };
}

mod servers;
mod trusting;

pub use clients::{ClientAuthorities, Shown};
pub use trusting::trusting_client_config;

/// Why a TLS configuration could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file is missing or holds nothing usable.
    #[error("cannot use {}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// A bundle of certificates is no PEM text.
    #[error("unable to load root certificates: {0}")]
    Bundle(rustls::pki_types::pem::Error),
    /// A bundle holds none.
    #[error("data does not contain any valid RSA or ECDSA certificates")]
    NoneInBundle,
    /// A certificate is no PEM text.
    #[error("unable to load the certificate: {0}")]
    Chain(rustls::pki_types::pem::Error),
    /// A key is another certificate's.
    #[error("private key does not match public key")]
    Mismatch,
    /// A key is no PEM text.
    #[error("unable to load the private key: {0}")]
    Key(rustls::pki_types::pem::Error),
    /// A file that should hold certificates holds none.
    #[error("{} holds no certificate", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// Key and certificate do not fit each other, or a certificate is malformed.
    #[error("certificate or key is unusable")]
    Unusable(#[from] rustls::Error),
    /// A certificate is none.
    #[error("{} holds a malformed certificate", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// The self-signed certificate could not be made.
    #[error("cannot make a self-signed certificate")]
    SelfSigned(#[from] pki::PkiError),
}

/// Where a server's certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsSource {
    /// A certificate made at start for these host names and addresses.
    SelfSigned(Vec<String>),
    /// PEM files.
    Files {
        /// Certificate, followed by intermediate ones.
        cert: PathBuf,
        /// Private key.
        key: PathBuf,
    },
    /// A PEM file of both, which may come later: until then nobody can connect.
    Awaited(PathBuf),
}

impl TlsSource {
    /// The files if both are given, else a self-signed certificate for `names`.
    pub fn from_flags(cert: Option<PathBuf>, key: Option<PathBuf>, names: &[&str]) -> Self {
        match (cert, key) {
            (Some(cert), Some(key)) => Self::Files { cert, key },
            _ => Self::SelfSigned(names.iter().map(|&name| name.to_owned()).collect()),
        }
    }
}

/// What a server wants to know of its clients' certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They are not asked for.
    Ignored,
    /// They are asked for; none is fine. Whether one is good is seen when it is used ([`Shown`]), not here: a
    /// connection, and sessions that are taken up again, outlive certificates.
    Asked,
}

/// Makes ring the process's cryptography for libraries that ask for a default.
pub fn use_ring() {
    // Fails only when a default is set already, which is then ring too: nothing else is linked.
    let _already_set = rustls::crypto::ring::default_provider().install_default();
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A certificate that is shown, as its files have it now.
#[derive(Debug)]
struct Own(Current<Option<Arc<CertifiedKey>>>);

impl Own {
    /// One whose files are there, or may come.
    fn of(cert: &Path, key: &Path, awaited: bool) -> Result<Arc<Self>, TlsError> {
        let files = (cert.to_owned(), key.to_owned());
        let read = move |_: Option<&_>| {
            if awaited && !files.0.exists() {
                return Ok(None);
            }
            let certified =
                CertifiedKey::from_der(certificates(&files.0)?, private_key(&files.1)?, &provider())?;
            Ok(Some(Arc::new(certified)))
        };
        Current::read(vec![cert.to_owned(), key.to_owned()], read).map(Self).map(Arc::new)
    }
}

impl ResolvesServerCert for Own {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.get()
    }
}

impl ResolvesClientCert for Own {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.get()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A server's configuration. `alpn` names the protocols it speaks, best first, such as
/// `["h2", "http/1.1"]`.
pub fn server_config(
    source: &TlsSource,
    clients: ClientCertificates,
    alpn: &[&str],
) -> Result<Arc<ServerConfig>, TlsError> {
    let own: Arc<dyn ResolvesServerCert> = match source {
        TlsSource::SelfSigned(names) => {
            let made = pki::self_signed(names)?;
            let key = certified_key(made.cert_pem.as_bytes(), made.key_pem.as_bytes())?;
            Arc::new(SingleCertAndKey::from(key))
        }
        TlsSource::Files { cert, key } => Own::of(cert, key, false)?,
        TlsSource::Awaited(file) => Own::of(file, file, true)?,
    };
    serving(own, clients, alpn)
}

/// A server's configuration whose certificate is chosen for each connection.
///
/// # Errors
/// When the cryptography has none of the usual versions of TLS.
pub fn choosing_server_config(
    certificates: Arc<dyn ResolvesServerCert>,
    alpn: &[&str],
) -> Result<Arc<ServerConfig>, TlsError> {
    serving(certificates, ClientCertificates::Ignored, alpn)
}

fn serving(
    own: Arc<dyn ResolvesServerCert>,
    clients: ClientCertificates,
    alpn: &[&str],
) -> Result<Arc<ServerConfig>, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = match clients {
        ClientCertificates::Ignored => builder.with_no_client_auth(),
        ClientCertificates::Asked => builder.with_client_cert_verifier(trusting::any_client()),
    };
    let mut config = builder.with_cert_resolver(own);
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Ok(Arc::new(config))
}

/// A certificate, with those that lead to an authority, and its key, as PEM texts.
///
/// # Errors
/// For texts that hold none, and when the key is not the certificate's.
pub fn certified_key(cert: &[u8], key: &[u8]) -> Result<CertifiedKey, TlsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(cert).collect();
    let chain = chain.map_err(TlsError::Chain)?;
    if chain.is_empty() {
        return Err(TlsError::Chain(rustls::pki_types::pem::Error::NoItemsFound));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(TlsError::Key)?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => TlsError::Mismatch,
        error => error.into(),
    })
}

/// A client's configuration: trusts the authorities in `ca`, and presents the certificate
/// and key of `identity` when asked.
pub fn client_config(ca: &Path, identity: Option<(&Path, &Path)>) -> Result<Arc<ClientConfig>, TlsError> {
    let config = trusting_those(certificates(ca)?)?;
    match identity {
        None => Ok(config),
        Some((cert, key)) => identified(&config, cert, key),
    }
}

/// A client's configuration: trusts the authorities of a PEM text, or those that this system trusts if it is empty.
///
/// # Errors
/// For a text that holds no certificate, and for malformed ones.
pub fn bundle_client_config(pem: &[u8]) -> Result<Arc<ClientConfig>, TlsError> {
    if !pem.is_empty() {
        let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
        let certificates = certificates.map_err(TlsError::Bundle)?;
        return match certificates.is_empty() {
            true => Err(TlsError::NoneInBundle),
            false => trusting_those(certificates),
        };
    }
    let mut store = RootCertStore::empty();
    // What of them cannot be used is missed only by those who show such.
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    Ok(Arc::new(builder.with_root_certificates(store).with_no_client_auth()))
}

fn trusting_those(certificates: Vec<CertificateDer<'static>>) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = builder.dangerous().with_custom_certificate_verifier(servers::trusted(certificates)?);
    Ok(Arc::new(builder.with_no_client_auth()))
}

/// The same configuration, showing a certificate when asked for one.
///
/// # Errors
/// As [`client_config`].
pub fn identified(config: &ClientConfig, cert: &Path, key: &Path) -> Result<Arc<ClientConfig>, TlsError> {
    let mut config = config.clone();
    config.client_auth_cert_resolver = Own::of(cert, key, false)?;
    // A session that is taken up again brings along the certificate that it began with.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// All certificates of a PEM file; at least one.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unusable = |source| TlsError::Pem { path: path.to_owned(), source };
    let found = CertificateDer::pem_file_iter(path)
        .map_err(unusable)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(unusable)?;
    if found.is_empty() {
        return Err(TlsError::NoCertificate { path: path.to_owned() });
    }
    Ok(found)
}

/// The private key of a PEM file.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|source| TlsError::Pem { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
