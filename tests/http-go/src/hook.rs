//! A validating webhook: `http-go hook CERT KEY` listens with TLS on port 8443 and allows every object but those whose
//! label `wanted` is `no`.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

/// More than any object.
const LONGEST: u64 = 4 << 20;

/// Serves until the process ends.
pub fn serve(cert: &str, key: &str) -> io::Result<()> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect);
    let key = PrivateKeyDer::from_pem_file(key).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(io::Error::other)?.with_no_client_auth();
    let config = builder.with_single_cert(chain.map_err(io::Error::other)?, key).map_err(io::Error::other)?;
    let config = Arc::new(config);
    for stream in TcpListener::bind("0.0.0.0:8443")?.incoming().flatten() {
        let connection = ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
        std::thread::spawn(move || {
            let mut stream = BufReader::new(StreamOwned::new(connection, stream));
            while let Ok(true) = answer(&mut stream) {}
        });
    }
    Ok(())
}

/// Answers a request, if there is another one.
fn answer(stream: &mut BufReader<impl Read + Write>) -> io::Result<bool> {
    let (mut length, mut line) = (0, String::new());
    while stream.read_line(&mut line)? > 2 {
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
        line.clear();
    }
    if length == 0 {
        return Ok(false);
    }
    let mut review: Value = serde_json::from_reader(stream.take(LONGEST.min(length)))?;
    let request = review["request"].take();
    let is_wanted = request["object"]["metadata"]["labels"]["wanted"] != "no";
    let message = format!("{} is not wanted", request["name"].as_str().unwrap_or_default());
    review["response"] = json!({"uid": request["uid"], "allowed": is_wanted, "status": {"message": message}});
    let body = review.to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.get_mut().write_all((head + &body).as_bytes())?;
    stream.get_mut().flush()?;
    Ok(true)
}
