use api::Message;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

#[test]
fn keys_are_private_and_an_authority_survives_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = (dir.path().join("pki/ca.crt"), dir.path().join("pki/ca.key"));
    let first = Authority::load_or_new("skiff-ca", &cert, &key).unwrap();
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let second = Authority::load_or_new("skiff-ca", &cert, &key).unwrap();
    assert_eq!(first.cert_pem(), second.cert_pem());
    assert_eq!(std::fs::read_dir(dir.path().join("pki")).unwrap().count(), 2, "no partial files stay");
}

#[test]
fn a_broken_authority_is_refused_with_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = (dir.path().join("ca.crt"), dir.path().join("ca.key"));
    std::fs::write(&cert, "nonsense").unwrap();
    let error = Authority::load(&cert, &key).err().unwrap();
    assert!(error.to_string().contains("ca.key"), "{error}");
    std::fs::write(&key, "nonsense").unwrap();
    assert!(matches!(Authority::load(&cert, &key), Err(PkiError::Certificate(_))));
}

#[test]
fn more_groups_than_a_certificate_holds_are_refused() {
    let authority = Authority::new("ca").unwrap();
    let error = authority.issue(&IssueRequest::client("jane", &["dev", "ops"])).unwrap_err();
    assert_eq!(error.to_string(), "a certificate can name at most one group, not dev, ops");
}

#[test]
fn a_certificate_names_user_and_groups() {
    use rustls::pki_types::pem::PemObject as _;

    let authority = Authority::new("ca").unwrap();
    let subject = |user: &str, groups: &[&str]| {
        let issued = authority.issue(&IssueRequest::client(user, groups)).unwrap();
        Subject::of(&CertificateDer::from_pem_slice(issued.cert_pem.as_bytes()).unwrap())
    };
    let jane = Subject { user: "jane".to_owned(), groups: vec!["dev".to_owned()], ..Subject::default() };
    assert_eq!(subject("jane", &["dev"]), Ok(Some(jane)));
    assert_eq!(subject("", &["dev"]), Ok(None));
    assert!(Subject::of(&CertificateDer::from(vec![0])).is_err());
}

#[test]
fn a_certificate_may_name_a_uid() {
    let subject = |uids: &[(u64, &str)]| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "jane");
        for (last, uid) in uids {
            let kind = DnType::CustomDnType(vec![1, 3, 6, 1, 4, 1, 57683, *last]);
            params.distinguished_name.push(kind, DnValue::Utf8String((*uid).to_owned()));
        }
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        Subject::of(made.der()).map(|subject| subject.unwrap().uid)
    };
    assert_eq!(subject(&[(2, "u-1")]), Ok("u-1".to_owned()));
    assert_eq!(subject(&[(1, "u-1")]), Ok(String::new()));
    assert_eq!(subject(&[(2, "")]), Err(Message::from("UID cannot be an empty string".to_owned())));
}

#[test]
fn a_certificate_is_compared_with_what_is_asked_for() {
    let authority = Authority::new("ca").unwrap();
    let ip = |text: &str| text.parse().unwrap();
    let mut asked = IssueRequest::server("n", &["n", "m"], &[ip("10.0.0.1"), ip("fd00::1")]);
    asked.organizations = vec!["system:nodes".to_owned()];
    let issued = authority.issue(&asked).unwrap().cert_pem.into_bytes();
    assert!(asked.is_met_by(&issued));
    for other in [
        IssueRequest { common_name: "m".to_owned(), ..asked.clone() },
        IssueRequest { organizations: Vec::new(), ..asked.clone() },
        IssueRequest { dns: vec!["n".to_owned()], ..asked.clone() },
        IssueRequest { ips: vec![ip("10.0.0.1"), ip("fd00::1"), ip("127.0.0.1")], ..asked.clone() },
    ] {
        assert!(!other.is_met_by(&issued), "{other:?}");
    }
    assert!(!asked.is_met_by(b"nonsense"));
    let client = IssueRequest::client("jane", &[]);
    assert!(client.is_met_by(authority.issue(&client).unwrap().cert_pem.as_bytes()));
}

#[test]
fn keys_are_not_shown() {
    let issued = Issued { cert_pem: "public".to_owned(), key_pem: "private".to_owned() };
    assert_eq!(format!("{issued:?}"), r#"Issued { cert_pem: "public", .. }"#);
}
