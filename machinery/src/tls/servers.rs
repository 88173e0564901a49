//! Which certificates of servers a client takes: those that authorities vouch for, and those that are themselves among what
//! the client trusts, whether they could vouch for others or not. Many name a server's own certificate where an authority
//! is asked for. Counterpart: Go's `x509.Certificate.Verify`.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Version};

use super::TlsError;

/// Takes certificates that are among these, or that one of these vouches for, if it may.
///
/// # Errors
/// When one of them is malformed.
pub(super) fn trusted(
    certificates: Vec<CertificateDer<'static>>,
) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in &certificates {
        if may_vouch(certificate)? {
            roots.add(certificate.clone())?;
        }
    }
    let provider = super::provider();
    let vouched = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    // Where there are no authorities, there is none.
    Ok(Arc::new(Trusted { certificates, vouched: vouched.build().ok(), provider }))
}

#[derive(Debug)]
struct Trusted {
    certificates: Vec<CertificateDer<'static>>,
    vouched: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, CertificateError> {
    X509Certificate::from_der(certificate)
        .map(|(_, parsed)| parsed)
        .map_err(|_| CertificateError::BadEncoding)
}

/// Whether a certificate may vouch for others; the oldest do not say.
fn may_vouch(certificate: &CertificateDer<'_>) -> Result<bool, Error> {
    let parsed = parse(certificate)?;
    let signs = parsed.key_usage().map_err(|_| CertificateError::BadEncoding)?;
    let signs = signs.is_none_or(|usage| usage.value.key_cert_sign());
    Ok(signs && (parsed.version() != X509Version::V3 || parsed.is_ca()))
}

/// Whether a certificate is for a server, of that name, now.
fn is_good(certificate: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> Result<(), Error> {
    let parsed = parse(certificate)?;
    let at =
        |time: i64| UnixTime::since_unix_epoch(std::time::Duration::from_secs(time.max(0).unsigned_abs()));
    let (not_before, not_after) =
        (at(parsed.validity.not_before.timestamp()), at(parsed.validity.not_after.timestamp()));
    if now < not_before {
        return Err(CertificateError::NotValidYetContext { time: now, not_before }.into());
    }
    if now > not_after {
        return Err(CertificateError::ExpiredContext { time: now, not_after }.into());
    }
    let usage = parsed.extended_key_usage().map_err(|_| CertificateError::BadEncoding)?;
    if usage.is_some_and(|usage| !usage.value.any && !usage.value.server_auth) {
        return Err(CertificateError::InvalidPurpose.into());
    }
    rustls::client::verify_server_name(&ParsedCertificate::try_from(certificate)?, name)
}

impl ServerCertVerifier for Trusted {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.certificates.contains(end_entity) {
            return is_good(end_entity, server_name, now).map(|()| ServerCertVerified::assertion());
        }
        let vouched = self.vouched.as_ref().ok_or(CertificateError::UnknownIssuer)?;
        vouched.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    signatures!();
}
