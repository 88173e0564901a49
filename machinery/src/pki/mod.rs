//! Certificate authorities and the certificates they issue (ECDSA P-256).
//!
//! Private keys are written with mode 0600 and appear under their name only when complete.
//! Upstream counterpart: kubeadm's `certs` phase.

mod sign;

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use api::{Message, message};
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData as _, SanType,
};
use rustls::pki_types::CertificateDer;
use x509_parser::der_parser::{asn1_rs::Oid, oid};
use x509_parser::prelude::{
    ASN1Time, AttributeTypeAndValue, FromDer as _, GeneralName, X509Certificate, X509CertificationRequest,
};

pub use sign::Requested;

/// The user as which API servers call kubelets.
pub const KUBELET_CLIENT: &str = "kube-apiserver-kubelet-client";
/// The group of those who may call kubelets; it may do nothing else.
pub const KUBELET_API_ADMIN: &str = "system:kubelet-api-admin";
/// Certificates begin to hold this long before they are made, for clocks that lag.
const CLOCK_SKEW: Duration = Duration::from_secs(300);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long authorities hold.
const AUTHORITY_LIFE: Duration = Duration::from_secs(3650 * DAY.as_secs());
/// How long issued certificates hold unless the request says otherwise.
const CERTIFICATE_LIFE: Duration = Duration::from_secs(365 * DAY.as_secs());

/// The group whose members may do everything.
pub const MASTERS: &str = "system:masters";

/// What went wrong with keys, certificates or their files.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A certificate could not be made or read.
    #[error("certificate is unusable")]
    Certificate(#[from] rcgen::Error),
    /// Something is not the certificate, or the well signed request for one, that it should be.
    #[error("certificate or request is unusable: {0}")]
    Malformed(String),
    /// The authority is too old to sign.
    #[error("the signer has expired: NotAfter={0}")]
    RunOut(Timestamp),
    /// The certificate library writes one organization of a kind.
    #[error("a certificate can name at most one group, not {}", .0.join(", "))]
    TooManyGroups(Vec<String>),
    /// A file could not be read or written.
    #[error("cannot access {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl PkiError {
    fn malformed(why: impl std::fmt::Display) -> Self {
        Self::Malformed(why.to_string())
    }
}

/// DER as PEM under a label.
pub fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    // Base64 is ASCII, so every 64 bytes are whole characters.
    let lines: Vec<&str> =
        (0..text.len()).step_by(64).map(|at| &text[at..(at + 64).min(text.len())]).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// What is in the blocks of a PEM text (DER); what is none is passed over.
pub fn blocks(text: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    x509_parser::pem::Pem::iter_from_buffer(text).filter_map(|block| Some(block.ok()?.contents))
}

/// A certificate and its private key, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Issued {
    /// The certificate.
    pub cert_pem: String,
    /// Its private key (PKCS#8).
    pub key_pem: String,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Issued").field("cert_pem", &self.cert_pem).finish_non_exhaustive()
    }
}

impl Issued {
    /// Writes both files, the key readable only by its owner.
    pub fn save(&self, cert: &Path, key: &Path) -> Result<(), PkiError> {
        write_file(key, self.key_pem.as_bytes(), 0o600)?;
        write_file(cert, self.cert_pem.as_bytes(), 0o644)
    }
}

/// What a certificate is wanted for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IssueRequest {
    /// The user, in Kubernetes' reading.
    pub common_name: String,
    /// The user's groups, in Kubernetes' reading; at most one.
    pub organizations: Vec<String>,
    /// Host names a server answers to.
    pub dns: Vec<String>,
    /// Addresses a server answers to.
    pub ips: Vec<IpAddr>,
    /// Whether a server may present it.
    pub server: bool,
    /// Whether a client may present it.
    pub client: bool,
    /// How long it holds; a year if not said.
    pub life: Option<Duration>,
}

impl IssueRequest {
    /// A certificate for a client, identified by user and groups.
    pub fn client(user: &str, groups: &[&str]) -> Self {
        Self {
            common_name: user.to_owned(),
            organizations: groups.iter().map(|&group| group.to_owned()).collect(),
            client: true,
            ..Self::default()
        }
    }

    /// A certificate for a server, reached by these names and addresses.
    pub fn server(name: &str, dns: &[&str], ips: &[IpAddr]) -> Self {
        Self {
            common_name: name.to_owned(),
            dns: dns.iter().map(|&host| host.to_owned()).collect(),
            ips: ips.to_vec(),
            server: true,
            ..Self::default()
        }
    }

    /// Whether a certificate names whom and what this asks for, and nobody and nothing else.
    pub fn is_met_by(&self, cert_pem: &[u8]) -> bool {
        let Ok((_, block)) = x509_parser::pem::parse_x509_pem(cert_pem) else { return false };
        let Ok(certificate) = block.parse_x509() else { return false };
        let Ok(Some(subject)) = Subject::of(&CertificateDer::from(block.contents.as_slice())) else {
            return false;
        };
        let (mut dns, mut ips) = (BTreeSet::new(), BTreeSet::new());
        let names = certificate.subject_alternative_name().ok().flatten();
        for name in names.iter().flat_map(|names| &names.value.general_names) {
            match name {
                GeneralName::DNSName(host) => drop(dns.insert((*host).to_owned())),
                GeneralName::IPAddress(octets) => {
                    match (<[u8; 4]>::try_from(*octets), <[u8; 16]>::try_from(*octets)) {
                        (Ok(v4), _) => drop(ips.insert(IpAddr::from(v4))),
                        (_, Ok(v6)) => drop(ips.insert(IpAddr::from(v6))),
                        _ => return false,
                    }
                }
                _ => return false,
            }
        }
        subject.user == self.common_name
            && subject.groups == self.organizations
            && dns == self.dns.iter().cloned().collect()
            && ips == self.ips.iter().copied().collect()
    }
}

/// A certificate authority with its key.
pub struct Authority {
    cert_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new authority.
    pub fn new(common_name: &str) -> Result<Self, PkiError> {
        let key = KeyPair::generate()?;
        let mut params = params(common_name, &[], AUTHORITY_LIFE);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
        ];
        let cert_pem = params.self_signed(&key)?.pem();
        Ok(Self { cert_pem, issuer: Issuer::new(params, key) })
    }

    /// Reads an authority from its PEM files.
    pub fn load(cert: &Path, key: &Path) -> Result<Self, PkiError> {
        let cert_pem = read_file(cert)?;
        let key = KeyPair::from_pem(&read_file(key)?)?;
        let issuer = Issuer::from_ca_cert_pem(&cert_pem, key)?;
        Ok(Self { cert_pem, issuer })
    }

    /// Writes the authority to PEM files, the key readable only by its owner.
    pub fn save(&self, cert: &Path, key: &Path) -> Result<(), PkiError> {
        let issued = Issued { cert_pem: self.cert_pem.clone(), key_pem: self.issuer.key().serialize_pem() };
        issued.save(cert, key)
    }

    /// Reads the authority from its files, or makes it and writes them if they are not there.
    pub fn load_or_new(common_name: &str, cert: &Path, key: &Path) -> Result<Self, PkiError> {
        if cert.exists() && key.exists() {
            return Self::load(cert, key);
        }
        let authority = Self::new(common_name)?;
        authority.save(cert, key)?;
        Ok(authority)
    }

    /// The authority's own certificate.
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// Issues a certificate with a new key.
    pub fn issue(&self, request: &IssueRequest) -> Result<Issued, PkiError> {
        if request.organizations.len() > 1 {
            return Err(PkiError::TooManyGroups(request.organizations.clone()));
        }
        let key = KeyPair::generate()?;
        let mut params =
            params(&request.common_name, &request.organizations, request.life.unwrap_or(CERTIFICATE_LIFE));
        params.subject_alt_names = sans(&request.dns, &request.ips)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        if request.server {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        if request.client {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        }
        params.use_authority_key_identifier_extension = true;
        let cert_pem = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Issued { cert_pem, key_pem: key.serialize_pem() })
    }
}

/// A server certificate that vouches for itself, for host names and addresses.
pub fn self_signed(names: &[String]) -> Result<Issued, PkiError> {
    let key = KeyPair::generate()?;
    let mut params = params(names.first().map_or("localhost", String::as_str), &[], AUTHORITY_LIFE);
    let (ips, dns): (Vec<_>, Vec<_>) = names.iter().partition(|name| name.parse::<IpAddr>().is_ok());
    let ips: Vec<IpAddr> = ips.iter().filter_map(|ip| ip.parse().ok()).collect();
    params.subject_alt_names = sans(&dns.into_iter().cloned().collect::<Vec<_>>(), &ips)?;
    params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    let cert_pem = params.self_signed(&key)?.pem();
    Ok(Issued { cert_pem, key_pem: key.serialize_pem() })
}

fn params(common_name: &str, organizations: &[String], life: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name(common_name, organizations);
    let now = std::time::SystemTime::from(crate::clock::now());
    params.not_before = (now - CLOCK_SKEW).into();
    params.not_after = (now + life).into();
    params
}

fn distinguished_name(common_name: &str, organizations: &[String]) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    for organization in organizations {
        name.push(DnType::OrganizationName, DnValue::Utf8String(organization.clone()));
    }
    name.push(DnType::CommonName, DnValue::Utf8String(common_name.to_owned()));
    name
}

fn sans(dns: &[String], ips: &[IpAddr]) -> Result<Vec<SanType>, PkiError> {
    let mut all = Vec::with_capacity(dns.len() + ips.len());
    for host in dns {
        all.push(SanType::DnsName(host.as_str().try_into()?));
    }
    all.extend(ips.iter().map(|&ip| SanType::IpAddress(ip)));
    Ok(all)
}

/// Where a certificate says its user's uid, as upstream has it: `1.3.6.1.4.1.57683.2`.
const UID: Oid<'static> = oid!(1.3.6.1.4.1.57683.2);

/// From when to when a certificate (PEM) holds, if it is one.
pub fn validity(certificate: &[u8]) -> Option<(Timestamp, Timestamp)> {
    let (_, block) = x509_parser::pem::parse_x509_pem(certificate).ok()?;
    let validity = block.parse_x509().ok()?.validity().clone();
    let at = |time: ASN1Time| Timestamp::from_second(time.timestamp()).ok();
    Some((at(validity.not_before)?, at(validity.not_after)?))
}

/// When such a share of a certificate's life is over.
pub fn at_share(certificate: &[u8], share: f64) -> Option<Timestamp> {
    let (from, to) = validity(certificate)?;
    from.checked_add(to.duration_since(from).mul_f64(share)).ok()
}

/// A key whose owner asks others for certificates.
pub struct Key(KeyPair);

impl Key {
    /// A new one.
    pub fn generate() -> Result<Self, PkiError> {
        Ok(Self(KeyPair::generate()?))
    }

    /// Reads one (PEM).
    pub fn read(pem: &str) -> Result<Self, PkiError> {
        Ok(Self(KeyPair::from_pem(pem)?))
    }

    /// The key (PKCS#8 as PEM).
    pub fn pem(&self) -> String {
        self.0.serialize_pem()
    }

    /// Its public half, as DER.
    pub fn public(&self) -> Vec<u8> {
        self.0.subject_public_key_info()
    }

    /// Whether a certificate (PEM) is about it.
    pub fn is_of(&self, certificate: &[u8]) -> bool {
        let Ok((_, block)) = x509_parser::pem::parse_x509_pem(certificate) else { return false };
        block.parse_x509().is_ok_and(|certificate| certificate.public_key().raw == self.public())
    }

    /// A request (PEM) for a certificate of this key. What it is for and how long, the request does not say.
    pub fn request(&self, wanted: &IssueRequest) -> Result<String, PkiError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished_name(&wanted.common_name, &wanted.organizations);
        params.subject_alt_names = sans(&wanted.dns, &wanted.ips)?;
        Ok(params.serialize_request(&self.0)?.pem()?)
    }
}

/// Whom a client certificate names: its common name is a user, each organization a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// The user.
    pub user: String,
    /// The user's uid, mostly empty.
    pub uid: String,
    /// The user's groups.
    pub groups: Vec<String>,
}

impl Subject {
    /// Reads a certificate that was verified already; `None` if it has no common name, and so names nobody. Of several
    /// common names the last one counts, as to Go.
    ///
    /// # Errors
    /// When it is malformed, or its uid is.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Option<Self>, Message> {
        let (_, certificate) = X509Certificate::from_der(certificate)
            .map_err(|error| format!("malformed certificate: {error}"))?;
        let subject = certificate.subject();
        let text = |attribute: &AttributeTypeAndValue<'_>| attribute.as_str().map(str::to_owned);
        let uids = subject.iter_by_oid(&UID).map(text).collect::<Result<Vec<_>, _>>();
        let uid = match uids.map_err(|_| "unable to parse UID into a string")?.as_slice() {
            [] => String::new(),
            [uid] if uid.is_empty() => return Err("UID cannot be an empty string".into()),
            [uid] => uid.clone(),
            uids => return Err(message!("expected 1 UID, but found multiple: {uids:?}")),
        };
        let unreadable = |_| "the subject has a name in another form than text".to_owned();
        let user = subject.iter_common_name().last().map(text).transpose().map_err(unreadable)?;
        let user = user.unwrap_or_default();
        let groups = subject.iter_organization().map(text).collect::<Result<_, _>>().map_err(unreadable)?;
        Ok((!user.is_empty()).then_some(Self { user, uid, groups }))
    }
}

fn read_file(path: &Path) -> Result<String, PkiError> {
    std::fs::read_to_string(path).map_err(|source| PkiError::File { path: path.to_owned(), source })
}

fn write_file(path: &Path, contents: &[u8], mode: u32) -> Result<(), PkiError> {
    let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    let written = folder.and_then(|()| crate::files::replace_durably(path, contents, mode));
    written.map_err(|source| PkiError::File { path: path.to_owned(), source })
}

/// Checks that a PEM text is a certificate request that is signed by the key it is about. Answers the organizations of its
/// subject: the groups that it wants to be in.
///
/// # Errors
/// Why it is none, in upstream's words where it has some.
pub fn check_request(pem: &[u8]) -> Result<Vec<String>, Message> {
    let not_pem = || Message::from("PEM block type must be CERTIFICATE REQUEST");
    let (_, block) = x509_parser::pem::parse_x509_pem(pem).map_err(|_| not_pem())?;
    if block.label != "CERTIFICATE REQUEST" {
        return Err(not_pem());
    }
    let (_, request) = X509CertificationRequest::from_der(&block.contents)
        .map_err(|e| format!("malformed certificate request: {e}"))?;
    request
        .verify_signature()
        .map_err(|e| format!("the signature of the certificate request is wrong: {e}"))?;
    let subject = &request.certification_request_info.subject;
    // One in another form than text makes no group.
    Ok(subject.iter_organization().filter_map(|group| group.as_str().ok().map(str::to_owned)).collect())
}

#[cfg(test)]
mod tests;
