use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use rustls::pki_types::ServerName;

use super::*;
use crate::pki::{Authority, IssueRequest};

struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new("ca").unwrap();
        let at = |name: &str| dir.path().join(name);
        authority.save(&at("ca.crt"), &at("ca.key")).unwrap();
        let localhost = [IpAddr::V4(Ipv4Addr::LOCALHOST)];
        let server = authority.issue(&IssueRequest::server("server", &["localhost"], &localhost)).unwrap();
        server.save(&at("server.crt"), &at("server.key")).unwrap();
        let client = authority.issue(&IssueRequest::client("jane", &["dev"])).unwrap();
        client.save(&at("client.crt"), &at("client.key")).unwrap();
        let stranger = Authority::new("other").unwrap().issue(&IssueRequest::client("eve", &[])).unwrap();
        stranger.save(&at("stranger.crt"), &at("stranger.key")).unwrap();
        Self { dir }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn server(&self) -> TlsSource {
        TlsSource::Files { cert: self.at("server.crt"), key: self.at("server.key") }
    }

    fn client(&self, name: &str) -> Arc<ClientConfig> {
        let (cert, key) = (self.at(&format!("{name}.crt")), self.at(&format!("{name}.key")));
        client_config(&self.at("ca.crt"), Some((&cert, &key))).unwrap()
    }
}

/// Runs a handshake over a socket pair and returns how many certificates the server saw.
fn handshake(server: Arc<ServerConfig>, client: Arc<ClientConfig>, host: &str) -> Result<usize, String> {
    let (mut near, mut far) = std::os::unix::net::UnixStream::pair().unwrap();
    let host = ServerName::try_from(host.to_owned()).unwrap();
    let asking = std::thread::spawn(move || {
        let mut connection = rustls::ClientConnection::new(client, host).unwrap();
        let mut stream = rustls::Stream::new(&mut connection, &mut near);
        stream.write_all(b"?").map_err(|error| error.to_string())?;
        stream.read_exact(&mut [0]).map_err(|error| error.to_string())
    });
    let mut connection = rustls::ServerConnection::new(server).unwrap();
    let mut stream = rustls::Stream::new(&mut connection, &mut far);
    let answered = stream.read_exact(&mut [0]).and_then(|()| stream.write_all(b"!"));
    let seen = connection.peer_certificates().map_or(0, <[_]>::len);
    drop(far);
    asking.join().unwrap()?;
    answered.map_err(|error| error.to_string())?;
    Ok(seen)
}

#[test]
fn client_certificates_are_asked_for_and_judged_later() {
    let files = Files::new();
    let server = server_config(&files.server(), ClientCertificates::Asked, &[]).unwrap();
    let nobody = client_config(&files.at("ca.crt"), None).unwrap();
    assert_eq!(handshake(Arc::clone(&server), nobody, "127.0.0.1"), Ok(0));
    assert_eq!(handshake(Arc::clone(&server), files.client("client"), "localhost"), Ok(1));
    assert_eq!(handshake(server, files.client("stranger"), "localhost"), Ok(1));
    let ignoring = server_config(&files.server(), ClientCertificates::Ignored, &[]).unwrap();
    assert_eq!(handshake(ignoring, files.client("client"), "localhost"), Ok(0));
}

#[test]
fn a_server_is_known_by_its_names_only() {
    let files = Files::new();
    let server = server_config(&files.server(), ClientCertificates::Ignored, &[]).unwrap();
    assert!(handshake(server, files.client("client"), "elsewhere").is_err());
    let alone = TlsSource::SelfSigned(vec!["localhost".into(), "127.0.0.1".into()]);
    let server = server_config(&alone, ClientCertificates::Ignored, &[]).unwrap();
    assert!(handshake(server, files.client("client"), "localhost").is_err(), "not signed by the authority");
}

#[test]
fn a_server_is_known_by_its_own_certificate() {
    let files = Files::new();
    let shown = |name: &str, host: &str| {
        let source = TlsSource::Files {
            cert: files.at(&format!("{name}.crt")),
            key: files.at(&format!("{name}.key")),
        };
        let server = server_config(&source, ClientCertificates::Ignored, &[]).unwrap();
        let bundle = std::fs::read(files.at(&format!("{name}.crt"))).unwrap();
        handshake(server, bundle_client_config(&bundle).unwrap(), host)
    };
    // What an authority that nobody knows issued, and what could be one itself, as OpenSSL makes them.
    let key = rcgen::KeyPair::generate().unwrap();
    let itself = |change: fn(&mut rcgen::CertificateParams)| {
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        change(&mut params);
        std::fs::write(files.at("itself.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(files.at("itself.key"), key.serialize_pem()).unwrap();
    };
    itself(|_| {});
    for name in ["server", "itself"] {
        assert_eq!(shown(name, "localhost"), Ok(0));
        assert!(shown(name, "elsewhere").unwrap_err().contains("not valid for name"), "{name}");
    }
    // Only what may vouch for others does: a server that has such a certificate is no authority.
    let issuer = rcgen::Issuer::from_ca_cert_pem(
        &std::fs::read_to_string(files.at("server.crt")).unwrap(),
        rcgen::KeyPair::from_pem(&std::fs::read_to_string(files.at("server.key")).unwrap()).unwrap(),
    );
    let false_key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(files.at("false.crt"), params.signed_by(&false_key, &issuer.unwrap()).unwrap().pem())
        .unwrap();
    std::fs::write(files.at("false.key"), false_key.serialize_pem()).unwrap();
    let source = TlsSource::Files { cert: files.at("false.crt"), key: files.at("false.key") };
    let server = server_config(&source, ClientCertificates::Ignored, &[]).unwrap();
    let pinned = bundle_client_config(&std::fs::read(files.at("server.crt")).unwrap()).unwrap();
    assert!(handshake(server, pinned, "localhost").unwrap_err().contains("UnknownIssuer"));
    itself(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    assert!(shown("itself", "localhost").unwrap_err().contains("expired"));
    itself(|params| params.not_before = rcgen::date_time_ymd(4000, 1, 1));
    assert!(shown("itself", "localhost").unwrap_err().contains("not valid yet"));
    itself(|params| params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth]);
    assert!(shown("itself", "localhost").unwrap_err().contains("InvalidPurpose"));
}

#[test]
fn unusable_files_are_named() {
    let files = Files::new();
    std::fs::write(files.at("empty"), "").unwrap();
    let error = certificates(&files.at("empty")).unwrap_err();
    assert!(error.to_string().contains("empty"), "{error}");
    let error = private_key(Path::new("/nowhere")).unwrap_err();
    assert_eq!(error.to_string(), "cannot use /nowhere");
}
