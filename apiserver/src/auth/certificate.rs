//! Client certificates: the common name is the user, each organization a group.

use jiff::Timestamp;
use machinery::{pki::Subject, tls::Shown};
use rustls_pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};

use super::{Refused, User};

/// Where upstream says which credential a user has shown.
pub const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// A certificate that a client has shown.
pub struct Certificate {
    shown: Shown,
    /// When it ends, be it good or not.
    pub end: Option<Timestamp>,
    /// Whom it names, should it be good; read once a connection.
    user: std::sync::OnceLock<Result<Option<User>, Refused>>,
}

impl From<Shown> for Certificate {
    fn from(shown: Shown) -> Self {
        Self { end: shown.end(), shown, user: std::sync::OnceLock::new() }
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
mod tests;
