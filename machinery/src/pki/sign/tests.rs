use rcgen::{CertificateParams, CustomExtension, DnType, KeyPair, SanType};

use super::super::check_request;
use super::*;

/// A request of somebody in two groups, with names.
fn request() -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "jane");
    params.distinguished_name.push(DnType::OrganizationName, "dev");
    // The library keeps one of a kind; this one is of the same kind by another name.
    params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 10]), "ops");
    params.subject_alt_names = vec![SanType::DnsName("host".try_into().unwrap())];
    params.custom_extensions = vec![CustomExtension::from_oid_content(&[1, 2, 3], vec![5, 0])];
    params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap().into_bytes()
}

#[test]
fn a_signed_certificate_has_all_names_and_only_the_usages_asked_for() {
    let (authority, request) = (Authority::new("ca").unwrap(), request());
    assert_eq!(check_request(&request).unwrap(), ["dev", "ops"]);
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let now = Timestamp::from_second(crate::clock::now().as_second()).unwrap();
    let sign = |usages: &[&str], to| {
        let usages: Vec<_> = usages.iter().map(|usage| (*usage).to_owned()).collect();
        let signed = authority.sign(&request, &usages, now, to).unwrap();
        x509_parser::pem::parse_x509_pem(signed.as_bytes()).unwrap().1.contents
    };
    let der = sign(&["client auth", "digital signature", "key encipherment"], at("2400-01-01T00:00:00Z"));
    let (_, signed) = X509Certificate::from_der(&der).unwrap();
    let ca = x509_parser::pem::parse_x509_pem(authority.cert_pem().as_bytes()).unwrap().1.contents;
    let (_, ca) = X509Certificate::from_der(&ca).unwrap();
    signed.verify_signature(Some(ca.public_key())).unwrap();
    assert_eq!(signed.subject().iter_organization().count(), 2);
    assert_eq!(signed.validity().not_before.timestamp(), now.as_second());
    assert_eq!(signed.validity().not_after, ca.validity().not_after, "no longer than its authority");
    assert!(!signed.is_ca());
    let usage = signed.key_usage().unwrap().unwrap().value;
    assert!(usage.digital_signature() && usage.key_encipherment() && !usage.key_cert_sign());
    let extended = signed.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.client_auth && !extended.server_auth && !extended.any);
    assert_eq!(signed.subject_alternative_name().unwrap().unwrap().value.general_names.len(), 1);
    assert_eq!(signed.extensions().len(), 5, "nothing else of the request");
    let der = sign(&["decipher only"], now);
    let usage = X509Certificate::from_der(&der).unwrap().1;
    assert!(usage.key_usage().unwrap().unwrap().value.decipher_only());
}

#[test]
fn who_has_run_out_or_did_not_sign_the_request_gets_nothing() {
    let authority = Authority::new("ca").unwrap();
    let late = "2400-01-01T00:00:00Z".parse().unwrap();
    assert!(matches!(authority.sign(&request(), &[], late, late), Err(PkiError::RunOut(_))));
    let now = crate::clock::now();
    assert!(matches!(authority.sign(b"nonsense", &[], now, now), Err(PkiError::Malformed(_))));
}
