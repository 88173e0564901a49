//! Certificates for the keys and names of others' requests.
//!
//! Subject and alternative names are taken as they stand, byte for byte: of several groups none is lost.

use jiff::Timestamp;
use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, SigningKey as _};
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::{OID_X509_EXT_SUBJECT_ALT_NAME, OID_X509_EXT_SUBJECT_KEY_IDENTIFIER};
use x509_parser::prelude::{AttributeTypeAndValue, FromDer as _, X509Certificate, X509CertificationRequest};

use super::{Authority, PkiError};

const SEQUENCE: u8 = 0x30;
const OCTETS: u8 = 0x04;
const OBJECT: u8 = 0x06;
/// Algorithm identifiers, as DER.
const ECDSA_SHA256: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
const ECDSA_SHA384: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03";
const ED25519: &[u8] = b"\x30\x05\x06\x03\x2b\x65\x70";
const RSA_SHA256: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00";

/// A usage as a bit of the key usage extension.
fn key_usage(usage: &str) -> Option<u16> {
    const BITS: [&[&str]; 9] = [
        &["digital signature", "signing"],
        &["content commitment"],
        &["key encipherment"],
        &["data encipherment"],
        &["key agreement"],
        &["cert sign"],
        &["crl sign"],
        &["encipher only"],
        &["decipher only"],
    ];
    BITS.iter().position(|names| names.contains(&usage)).map(|bit| 0x8000 >> bit)
}

/// A usage as an object identifier of the extended key usage extension.
fn extended_usage(usage: &str) -> Option<&'static [u8]> {
    Some(match usage {
        "any" => b"\x55\x1d\x25\x00",
        "server auth" => b"\x2b\x06\x01\x05\x05\x07\x03\x01",
        "client auth" => b"\x2b\x06\x01\x05\x05\x07\x03\x02",
        "code signing" => b"\x2b\x06\x01\x05\x05\x07\x03\x03",
        "email protection" | "s/mime" => b"\x2b\x06\x01\x05\x05\x07\x03\x04",
        "ipsec end system" => b"\x2b\x06\x01\x05\x05\x07\x03\x05",
        "ipsec tunnel" => b"\x2b\x06\x01\x05\x05\x07\x03\x06",
        "ipsec user" => b"\x2b\x06\x01\x05\x05\x07\x03\x07",
        "timestamping" => b"\x2b\x06\x01\x05\x05\x07\x03\x08",
        "ocsp signing" => b"\x2b\x06\x01\x05\x05\x07\x03\x09",
        "microsoft sgc" => b"\x2b\x06\x01\x04\x01\x82\x37\x0a\x03\x03",
        "netscape sgc" => b"\x60\x86\x48\x01\x86\xf8\x42\x04\x01",
        _ => return None,
    })
}

/// One DER value of a tag and its parts.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut out = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let length = content.len().to_be_bytes();
            let bytes = &length[length.iter().take_while(|byte| **byte == 0).count()..];
            out.push(0x80 | bytes.len() as u8);
            out.extend(bytes);
        }
    }
    out.extend(content);
    out
}

fn extension(oid: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let critical: &[u8] = if critical { b"\x01\x01\xff" } else { b"" };
    der(SEQUENCE, &[&der(OBJECT, &[oid]), critical, &der(OCTETS, &[value])])
}

fn time(at: Timestamp) -> Vec<u8> {
    match at.strftime("%Y%m%d%H%M%SZ").to_string() {
        text if text.as_str() < "2050" => der(0x17, &[&text.as_bytes()[2..]]),
        text => der(0x18, &[text.as_bytes()]),
    }
}

fn usages_extensions(usages: &[String]) -> Vec<u8> {
    let bits = usages.iter().filter_map(|usage| key_usage(usage)).fold(0, |all, bit| all | bit);
    let mut extended: Vec<_> = usages.iter().filter_map(|usage| extended_usage(usage)).collect();
    extended.sort_unstable();
    extended.dedup();
    let mut extensions = Vec::new();
    if bits != 0 {
        let (bytes, unused) = (bits.to_be_bytes(), bits.trailing_zeros() as u8);
        let used = if unused >= 8 { 1 } else { 2 };
        extensions.extend(extension(b"\x55\x1d\x0f", true, &der(0x03, &[&[unused % 8], &bytes[..used]])));
    }
    if !extended.is_empty() {
        let oids: Vec<_> = extended.iter().map(|oid| der(OBJECT, &[oid])).collect();
        extensions.extend(extension(b"\x55\x1d\x25", false, &der(SEQUENCE, &[&oids.concat()])));
    }
    extensions
}

/// What a certificate request asks to be called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requested {
    /// The common name.
    pub user: String,
    /// The organizations.
    pub groups: Vec<String>,
    /// Whether there are host names.
    pub dns: bool,
    /// Whether there are addresses.
    pub ips: bool,
    /// Whether there are mail addresses.
    pub emails: bool,
    /// Whether there are URIs.
    pub uris: bool,
}

impl Requested {
    /// Reads a request (PEM).
    ///
    /// # Errors
    /// When it is malformed.
    pub fn read(request: &[u8]) -> Result<Self, PkiError> {
        let (_, block) = x509_parser::pem::parse_x509_pem(request).map_err(PkiError::malformed)?;
        let (_, request) =
            X509CertificationRequest::from_der(&block.contents).map_err(PkiError::malformed)?;
        let subject = &request.certification_request_info.subject;
        let text = |name: &AttributeTypeAndValue<'_>| name.as_str().map(str::to_owned);
        let groups =
            subject.iter_organization().map(text).collect::<Result<_, _>>().map_err(PkiError::malformed)?;
        let user = subject.iter_common_name().last().map(text).transpose().map_err(PkiError::malformed)?;
        let mut all = Self { user: user.unwrap_or_default(), groups, ..Self::default() };
        for extension in request.requested_extensions().into_iter().flatten() {
            let ParsedExtension::SubjectAlternativeName(names) = extension else { continue };
            for name in &names.general_names {
                match name {
                    GeneralName::DNSName(_) => all.dns = true,
                    GeneralName::IPAddress(_) => all.ips = true,
                    GeneralName::RFC822Name(_) => all.emails = true,
                    GeneralName::URI(_) => all.uris = true,
                    _ => {}
                }
            }
        }
        Ok(all)
    }
}

impl Authority {
    /// Signs a certificate request (PEM): its subject, alternative names and key, for these usages (as
    /// CertificateSigningRequests call them) and this time, cut at the authority's own end. Answers the certificate (PEM).
    ///
    /// # Errors
    /// When the request or the authority is malformed, the request's signature is wrong, or the authority has run out.
    pub fn sign(
        &self,
        request: &[u8],
        usages: &[String],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<String, PkiError> {
        let (_, block) = x509_parser::pem::parse_x509_pem(request).map_err(PkiError::malformed)?;
        let (_, request) =
            X509CertificationRequest::from_der(&block.contents).map_err(PkiError::malformed)?;
        request.verify_signature().map_err(PkiError::malformed)?;
        let request = &request.certification_request_info;
        let (_, own) =
            x509_parser::pem::parse_x509_pem(self.cert_pem.as_bytes()).map_err(PkiError::malformed)?;
        let (_, own) = X509Certificate::from_der(&own.contents).map_err(PkiError::malformed)?;
        let end = Timestamp::from_second(own.validity().not_after.timestamp()).unwrap_or(Timestamp::MAX);
        if end <= from {
            return Err(PkiError::RunOut(end));
        }
        let key = self.issuer.key();
        let algorithm = match key.algorithm() {
            a if *a == PKCS_ECDSA_P256_SHA256 => ECDSA_SHA256,
            a if *a == PKCS_ECDSA_P384_SHA384 => ECDSA_SHA384,
            a if *a == PKCS_ED25519 => ED25519,
            a if *a == PKCS_RSA_SHA256 => RSA_SHA256,
            _ => return Err(PkiError::Certificate(rcgen::Error::UnsupportedSignatureAlgorithm)),
        };
        let mut extensions = usages_extensions(usages);
        extensions.extend(extension(b"\x55\x1d\x13", true, &der(SEQUENCE, &[])));
        if let Ok(Some(id)) = own.get_extension_unique(&OID_X509_EXT_SUBJECT_KEY_IDENTIFIER) {
            // The same octets, with the tag that they have there.
            let octets = id.value.get(2..).unwrap_or_default();
            extensions.extend(extension(b"\x55\x1d\x23", false, &der(SEQUENCE, &[&der(0x80, &[octets])])));
        }
        let asked = request.iter_attributes().filter_map(|attribute| match attribute.parsed_attribute() {
            ParsedCriAttribute::ExtensionRequest(asked) => Some(&asked.extensions),
            _ => None,
        });
        for names in asked.flatten().filter(|asked| asked.oid == OID_X509_EXT_SUBJECT_ALT_NAME) {
            extensions.extend(extension(b"\x55\x1d\x11", names.critical, names.value));
        }
        let mut serial = [0; 16];
        let random = rustls::crypto::ring::default_provider().secure_random;
        random.fill(&mut serial).map_err(|_| PkiError::Certificate(rcgen::Error::RingUnspecified))?;
        // Positive, and without a zero in front.
        serial[0] = serial[0] & 0x3f | 0x40;
        let tbs = der(
            SEQUENCE,
            &[
                b"\xa0\x03\x02\x01\x02",
                &der(0x02, &[&serial]),
                algorithm,
                own.subject().as_raw(),
                &der(SEQUENCE, &[&time(from), &time(to.min(end))]),
                request.subject.as_raw(),
                request.subject_pki.raw,
                &der(0xa3, &[&der(SEQUENCE, &[&extensions])]),
            ],
        );
        let signature = der(0x03, &[&[0], &key.sign(&tbs)?]);
        let certificate = der(SEQUENCE, &[&tbs, algorithm, &signature]);
        Ok(super::pem("CERTIFICATE", &certificate))
    }
}

#[cfg(test)]
mod tests;
