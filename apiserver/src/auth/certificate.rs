//! Client certificates: the common name is the user, each organization a group.

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::User;

/// The user a certificate names; `None` when it has no common name. The certificate's signature was
/// verified during the TLS handshake.
pub fn from_certificate(der: &CertificateDer<'_>) -> Option<User> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let groups = subject.iter_organization().filter_map(|o| o.as_str().ok()).map(str::to_owned).collect();
    (!name.is_empty()).then(|| User::new(name, String::new(), groups))
}
