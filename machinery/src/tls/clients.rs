//! Who vouches for clients, and whether a certificate that a client has shown is good *now*.
//!
//! Invariant: nobody gets at a client's certificate without it being judged in the second of its use, by the authorities
//! that the file names then. Times in certificates are whole seconds, so within one nothing changes. Upstream
//! counterpart: `authentication/request/x509` with `dynamiccertificates`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{TlsError, certificates, provider};

/// The authorities of client certificates: those in a file, as it is now.
pub struct ClientAuthorities {
    path: PathBuf,
    read: Mutex<Read>,
}

/// What was read, and when.
struct Read {
    /// The second in which the file was looked at.
    looked: u64,
    stamp: Option<Stamp>,
    authorities: Vec<Authority>,
    verifier: Option<Verifier>,
}

/// What differs between two contents of a file.
type Stamp = (SystemTime, u64);

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
        let stamp = stamp(path);
        let read = Read { looked: 0, stamp, authorities: authorities(path)?, verifier: None };
        Ok(Self { path: path.to_owned(), read: Mutex::new(read) })
    }

    /// The certificates of the authorities, as the file has them now.
    pub fn certificates(&self) -> Vec<CertificateDer<'static>> {
        let mut read = self.read.lock();
        read.look(&self.path, UnixTime::now().as_secs());
        read.authorities.iter().map(|authority| authority.certificate.clone()).collect()
    }

    /// Whether a client may show these certificates, its own first, at a time.
    fn verify(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<(), String> {
        let (own, intermediates) = chain.split_first().ok_or("no certificate was shown")?;
        let verifier = self.verifier(now).ok_or("no authority is valid")?;
        let verified = verifier.verify_client_cert(own, intermediates, now);
        verified.map(drop).map_err(|error| error.to_string())
    }

    fn verifier(&self, now: UnixTime) -> Option<Arc<dyn ClientCertVerifier>> {
        let mut read = self.read.lock();
        read.look(&self.path, now.as_secs());
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let is_valid = |authority: &Authority| (authority.valid.0..=authority.valid.1).contains(&seconds);
        let valid: Vec<bool> = read.authorities.iter().map(is_valid).collect();
        if let Some(made) = read.verifier.as_ref().filter(|made| made.valid == valid) {
            return made.verifier.clone();
        }
        let mut roots = RootCertStore::empty();
        let of_them = read.authorities.iter().zip(&valid).filter(|(_, valid)| **valid);
        roots.add_parsable_certificates(of_them.map(|(authority, _)| authority.certificate.clone()));
        // Fails without any authority.
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build().ok();
        read.verifier = Some(Verifier { valid, verifier: verifier.clone() });
        verifier
    }
}

impl Read {
    /// Reads the file again if it has changed; at most once a second. One that cannot be used changes nothing.
    fn look(&mut self, path: &Path, second: u64) {
        if std::mem::replace(&mut self.looked, second) == second {
            return;
        }
        let stamp = stamp(path);
        if stamp == self.stamp {
            return;
        }
        match authorities(path) {
            Ok(authorities) => {
                tracing::info!(path = %path.display(), count = authorities.len(), "Read the authorities of clients");
                (self.authorities, self.verifier) = (authorities, None);
            }
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "The authorities of clients stay as they were"
            ),
        }
        self.stamp = stamp;
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
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
    judged: Mutex<Option<(u64, Result<(), String>)>>,
}

impl Shown {
    /// What a client has shown, its own certificate first; `None` for nothing.
    pub fn new(authorities: Arc<ClientAuthorities>, chain: &[CertificateDer<'_>]) -> Option<Self> {
        let chain: Vec<_> = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
        (!chain.is_empty()).then(|| Self { authorities, chain, judged: Mutex::default() })
    }

    /// The client's certificate, if it is good now.
    ///
    /// # Errors
    /// Why it is not: its time, its authority, or what it is for.
    pub fn certificate(&self) -> Result<&CertificateDer<'static>, String> {
        self.certificate_at(UnixTime::now())
    }

    fn certificate_at(&self, now: UnixTime) -> Result<&CertificateDer<'static>, String> {
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
mod tests {
    use std::time::Duration;

    use rcgen::{
        BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    };

    use super::*;

    const EPOCH: SystemTime = SystemTime::UNIX_EPOCH;

    fn params(name: &str, (from, to): (u64, u64)) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = (EPOCH + Duration::from_secs(from)).into();
        params.not_after = (EPOCH + Duration::from_secs(to)).into();
        params
    }

    struct Signer {
        issuer: Issuer<'static, KeyPair>,
        pem: String,
        der: CertificateDer<'static>,
    }

    fn authority(name: &str, valid: (u64, u64), above: Option<&Signer>) -> Signer {
        let key = KeyPair::generate().unwrap();
        let mut params = params(name, valid);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let made = match above {
            None => params.self_signed(&key).unwrap(),
            Some(above) => params.signed_by(&key, &above.issuer).unwrap(),
        };
        Signer { pem: made.pem(), der: made.der().clone(), issuer: Issuer::new(params, key) }
    }

    fn client(
        signer: &Signer,
        valid: (u64, u64),
        usages: &[ExtendedKeyUsagePurpose],
    ) -> CertificateDer<'static> {
        let mut params = params("jane", valid);
        params.extended_key_usages = usages.to_vec();
        params.signed_by(&KeyPair::generate().unwrap(), &signer.issuer).unwrap().der().clone()
    }

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    #[test]
    fn a_certificate_is_judged_each_time_it_is_used() {
        use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.crt");
        let root = authority("root", (1000, 9000), None);
        let middle = authority("middle", (1000, 5000), Some(&root));
        let other = authority("other", (1000, 9000), None);
        std::fs::write(&file, &root.pem).unwrap();
        let authorities = Arc::new(ClientAuthorities::load(&file).unwrap());
        let own = client(&root, (2000, 3000), &[ClientAuth]);
        let below = client(&middle, (2000, 8000), &[ClientAuth]);
        let long = client(&root, (2000, 20_000), &[ClientAuth]);
        for (what, chain, good_at, bad_at) in [
            ("its own time", vec![own], vec![2000, 2500, 3000], vec![1999, 3001]),
            ("that of what is between", vec![below.clone(), middle.der.clone()], vec![4999], vec![5001]),
            ("nothing between", vec![below], vec![], vec![4000]),
            ("that of its authority", vec![long], vec![9000], vec![9001]),
            ("for no use in particular", vec![client(&root, (2000, 8000), &[])], vec![4000], vec![]),
            ("for servers", vec![client(&root, (2000, 8000), &[ServerAuth])], vec![], vec![4000]),
            ("of others", vec![client(&other, (2000, 8000), &[ClientAuth])], vec![], vec![4000]),
        ] {
            let shown = Shown::new(Arc::clone(&authorities), &chain).unwrap();
            // Twice in a second and back and forth: what was said before is forgotten.
            for _ in 0..2 {
                for good in &good_at {
                    assert_eq!(shown.certificate_at(at(*good)), Ok(&chain[0]), "{what} at {good}");
                    assert_eq!(shown.certificate_at(at(*good)), Ok(&chain[0]), "{what} at {good}");
                }
                for bad in &bad_at {
                    assert!(shown.certificate_at(at(*bad)).is_err(), "{what} at {bad}");
                    assert!(shown.certificate_at(at(*bad)).is_err(), "{what} at {bad}");
                }
            }
        }
        assert!(Shown::new(authorities, &[]).is_none());
    }

    #[test]
    fn authorities_come_and_go_with_their_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.crt");
        let (old, new) = (authority("old", (1000, 9000), None), authority("new", (1000, 9000), None));
        let usages = [ExtendedKeyUsagePurpose::ClientAuth];
        let chains = [&old, &new].map(|signer| vec![client(signer, (2000, 8000), &usages)]);
        std::fs::write(&file, &old.pem).unwrap();
        let authorities = Arc::new(ClientAuthorities::load(&file).unwrap());
        let shown = chains.map(|chain| Shown::new(Arc::clone(&authorities), &chain).unwrap());
        for (second, (contents, good)) in (3000..).zip([
            (old.pem.clone(), [true, false]),
            (format!("{}{}", old.pem, new.pem), [true, true]),
            ("unreadable".to_owned(), [true, true]),
            (new.pem.clone(), [false, true]),
        ]) {
            std::fs::write(&file, &contents).unwrap();
            // Clocks of file systems are coarse.
            let changed = EPOCH + Duration::from_secs(second);
            std::fs::File::open(&file).unwrap().set_modified(changed).unwrap();
            let found = shown.each_ref().map(|shown| shown.certificate_at(at(second)).is_ok());
            assert_eq!(found, good, "{contents}");
        }
        std::fs::write(&file, "").unwrap();
        assert!(ClientAuthorities::load(&file).is_err());
    }
}
