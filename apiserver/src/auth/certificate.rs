//! Client certificates: the common name is the user, each organization a group.

use machinery::{pki::Subject, tls::Shown};
use rustls_pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};

use super::{Refused, User};

/// Where upstream says which credential a user has shown.
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// A certificate that a client has shown.
pub struct Certificate {
    shown: Shown,
    /// Whom it names, should it be good; read once a connection.
    user: std::sync::OnceLock<Result<Option<User>, Refused>>,
}

impl From<Shown> for Certificate {
    fn from(shown: Shown) -> Self {
        Self { shown, user: std::sync::OnceLock::new() }
    }
}

impl Certificate {
    /// The user it names, if it is good now; `None` when it names nobody.
    ///
    /// # Errors
    /// Why it is not good.
    pub fn user(&self) -> Result<Option<&User>, Refused> {
        let certificate = self.shown.certificate().map_err(Refused::Because)?;
        let user = self.user.get_or_init(|| user(certificate));
        user.as_ref().map(Option::as_ref).map_err(Refused::clone)
    }
}

fn user(certificate: &CertificateDer<'_>) -> Result<Option<User>, Refused> {
    let Some(subject) = Subject::of(certificate).map_err(Refused::Because)? else { return Ok(None) };
    let mut user = User::new(subject.user, subject.uid, subject.groups);
    let hash: String = Sha256::digest(certificate).iter().map(|byte| format!("{byte:02x}")).collect();
    user.extra.insert(CREDENTIAL_ID.into(), vec![format!("X509SHA256={hash}")]);
    Ok(Some(user))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(entries: &[(rcgen::DnType, &str)]) -> User {
        let mut parameters = rcgen::CertificateParams::default();
        for (kind, value) in entries {
            parameters.distinguished_name.push(kind.clone(), *value);
        }
        let made = parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        user(made.der()).unwrap().unwrap()
    }

    #[test]
    fn a_certificate_is_known_by_its_hash() {
        let mut parameters = rcgen::CertificateParams::default();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, "jane");
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let user = user(certificate.der()).unwrap().unwrap();
        assert_eq!(user.name, "jane");
        let id =
            user.extra["authentication.kubernetes.io/credential-id"][0].strip_prefix("X509SHA256=").unwrap();
        let hash = u128::from_be_bytes(Sha256::digest(certificate.der())[..16].try_into().unwrap());
        assert_eq!(id[..32], format!("{hash:032x}"));
        assert_eq!(id.len(), 64);
    }

    #[test]
    fn the_group_of_all_is_added_once_and_not_to_nobody() {
        use rcgen::DnType::{CommonName, OrganizationName};
        for (name, group, expected) in [
            ("jane", "dev", &["dev", "system:authenticated"][..]),
            ("jane", "system:authenticated", &["system:authenticated"]),
            ("jane", "system:unauthenticated", &["system:unauthenticated"]),
            ("system:anonymous", "dev", &["dev"]),
        ] {
            assert_eq!(named(&[(CommonName, name), (OrganizationName, group)]).groups, expected, "{name}");
        }
    }
}
