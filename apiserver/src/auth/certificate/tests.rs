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
    let id = user.extra["authentication.kubernetes.io/credential-id"][0].strip_prefix("X509SHA256=").unwrap();
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
