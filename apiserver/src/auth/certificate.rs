//! Client certificates: the common name is the user, each organization a group.

use machinery::pki::Subject;
use rustls_pki_types::CertificateDer;

use super::User;

/// The user a certificate names; `None` when it has no common name. The certificate's signature was
/// verified during the TLS handshake.
pub fn from_certificate(der: &CertificateDer<'_>) -> Option<User> {
    Subject::of(der).map(|subject| User::new(subject.user, String::new(), subject.groups))
}
