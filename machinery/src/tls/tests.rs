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
fn unusable_files_are_named() {
    let files = Files::new();
    std::fs::write(files.at("empty"), "").unwrap();
    let error = certificates(&files.at("empty")).unwrap_err();
    assert!(error.to_string().contains("empty"), "{error}");
    let error = private_key(Path::new("/nowhere")).unwrap_err();
    assert_eq!(error.to_string(), "cannot use /nowhere");
}
