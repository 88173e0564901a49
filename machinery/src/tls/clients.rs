//! Who vouches for clients, and whether a certificate that a client has shown is good *now*.
//!
//! Invariant: nobody gets at a client's certificate without it being judged in the second of its use, by the authorities
//! that the file names then. Times in certificates are whole seconds, so within one nothing changes. Upstream
//! counterpart: `authentication/request/x509` with `dynamiccertificates`.

use api::Message;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{TlsError, certificates, provider};
use crate::files::Current;

/// The authorities of client certificates: those in a file, as it is now.
pub struct ClientAuthorities(Current<Arc<Known>>);

struct Known {
    authorities: Vec<Authority>,
    verifier: Mutex<Option<Verifier>>,
}

struct Authority {
    certificate: CertificateDer<'static>,
    /// First and last second.
    valid: (i64, i64),
}

/// Made from the authorities that were valid at a time.
struct Verifier {
    valid: Vec<bool>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
}

impl ClientAuthorities {
    /// The authorities in a PEM file.
    ///
    /// # Errors
    /// When there is no certificate in it, or one is malformed.
    pub fn load(path: &Path) -> Result<Self, TlsError> {
        let file = path.to_owned();
        let read = move |_: Option<&_>| {
            Ok(Arc::new(Known { authorities: authorities(&file)?, verifier: Mutex::default() }))
        };
        Current::read(vec![path.to_owned()], read).map(Self)
    }

    /// The certificates of the authorities, as the file has them now.
    pub fn certificates(&self) -> Vec<CertificateDer<'static>> {
        self.0.get().authorities.iter().map(|authority| authority.certificate.clone()).collect()
    }

    /// Whether a client may show these certificates, its own first, at a time.
    fn verify(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Message> {
        let (own, intermediates) = chain.split_first().ok_or("no certificate was shown")?;
        let verifier = self.verifier(now).ok_or("no authority is valid")?;
        let verified = verifier.verify_client_cert(own, intermediates, now);
        verified.map(drop).map_err(Message::of)
    }

    fn verifier(&self, now: UnixTime) -> Option<Arc<dyn ClientCertVerifier>> {
        let second = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let known = self.0.get_in(second);
        let is_valid = |authority: &Authority| (authority.valid.0..=authority.valid.1).contains(&second);
        let valid: Vec<bool> = known.authorities.iter().map(is_valid).collect();
        let mut kept = known.verifier.lock();
        if let Some(made) = kept.as_ref().filter(|made| made.valid == valid) {
            return made.verifier.clone();
        }
        let mut roots = RootCertStore::empty();
        let of_them = known.authorities.iter().zip(&valid).filter(|(_, valid)| **valid);
        roots.add_parsable_certificates(of_them.map(|(authority, _)| authority.certificate.clone()));
        // Fails without any authority.
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build().ok();
        *kept = Some(Verifier { valid, verifier: verifier.clone() });
        verifier
    }
}

fn authorities(path: &Path) -> Result<Vec<Authority>, TlsError> {
    let authority = |certificate: CertificateDer<'static>| {
        let (_, parsed) = X509Certificate::from_der(&certificate)
            .map_err(|_| TlsError::Malformed { path: path.to_owned() })?;
        let valid = parsed.validity();
        let valid = (valid.not_before.timestamp(), valid.not_after.timestamp());
        // What rustls cannot use is told now, not when somebody calls.
        RootCertStore::empty().add(certificate.clone())?;
        Ok(Authority { certificate, valid })
    };
    certificates(path)?.into_iter().map(authority).collect()
}

/// A certificate that a client has shown on a connection, with those that lead to an authority.
pub struct Shown {
    authorities: Arc<ClientAuthorities>,
    chain: Vec<CertificateDer<'static>>,
    /// The last judgement and its second.
    judged: Mutex<Option<(u64, Result<(), Message>)>>,
}

impl Shown {
    /// What a client has shown, its own certificate first; `None` for nothing.
    pub fn new(authorities: Arc<ClientAuthorities>, chain: &[CertificateDer<'_>]) -> Option<Self> {
        let chain: Vec<_> = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
        (!chain.is_empty()).then(|| Self { authorities, chain, judged: Mutex::default() })
    }

    /// When the client's certificate ends, be it good or not.
    pub fn end(&self) -> Option<jiff::Timestamp> {
        let (_, certificate) = X509Certificate::from_der(&self.chain[0]).ok()?;
        jiff::Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
    }

    /// The client's certificate, if it is good now.
    ///
    /// # Errors
    /// Why it is not: its time, its authority, or what it is for.
    pub fn certificate(&self) -> Result<&CertificateDer<'static>, Message> {
        self.certificate_at(UnixTime::now())
    }

    fn certificate_at(&self, now: UnixTime) -> Result<&CertificateDer<'static>, Message> {
        let mut judged = self.judged.lock();
        let verdict = match judged.take().filter(|(second, _)| *second == now.as_secs()) {
            Some((_, verdict)) => verdict,
            None => self.authorities.verify(&self.chain, now),
        };
        *judged = Some((now.as_secs(), verdict.clone()));
        verdict.map(|()| &self.chain[0])
    }
}

#[cfg(test)]
mod tests;
