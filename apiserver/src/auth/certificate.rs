//! Client certificates: the common name is the user, each organization a group.

use machinery::pki::Subject;
use rustls_pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};

use super::User;

/// Where upstream says which credential a user has shown.
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// The user a certificate names; `None` when it has no common name. The certificate's signature was
/// verified during the TLS handshake.
pub fn from_certificate(der: &CertificateDer<'_>) -> Option<User> {
    let subject = Subject::of(der)?;
    let mut user = User::new(subject.user, String::new(), subject.groups);
    let hash: String = Sha256::digest(der).iter().map(|byte| format!("{byte:02x}")).collect();
    user.extra.insert(CREDENTIAL_ID.into(), vec![format!("X509SHA256={hash}")]);
    Some(user)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_known_by_its_hash() {
        let mut parameters = rcgen::CertificateParams::default();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, "jane");
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let user = from_certificate(certificate.der()).unwrap();
        assert_eq!(user.name, "jane");
        let id =
            user.extra["authentication.kubernetes.io/credential-id"][0].strip_prefix("X509SHA256=").unwrap();
        let hash = u128::from_be_bytes(Sha256::digest(certificate.der())[..16].try_into().unwrap());
        assert_eq!(id[..32], format!("{hash:032x}"));
        assert_eq!(id.len(), 64);
    }
}
