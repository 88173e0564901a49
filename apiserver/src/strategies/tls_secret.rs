//! Whether a secret for TLS holds a certificate and its key, in the words of Go's `tls.X509KeyPair`.

use api::object::ObjectExt as _;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::{
    crypto::ring::sign::any_supported_type,
    pki_types::{PrivateKeyDer, pem::PemObject as _},
};
use serde_json::Value;
use x509_parser::{
    pem::Pem,
    prelude::{FromDer as _, X509Certificate},
};

/// What is to be said of a secret of the type `kubernetes.io/tls` that a server cannot use.
pub fn warning(secret: &Value) -> Option<String> {
    if secret.str_at(&["type"]) != "kubernetes.io/tls" {
        return None;
    }
    let part = |key| STANDARD.decode(secret.str_at(&["data", key])).unwrap_or_default();
    unusable(&part("tls.crt"), &part("tls.key"))
}

fn unusable(certificate: &[u8], key: &[u8]) -> Option<String> {
    let blocks = |pem: &[u8]| -> Vec<Pem> { Pem::iter_from_buffer(pem).map_while(Result::ok).collect() };
    let (certificates, keys) = (blocks(certificate), blocks(key));
    let labels =
        |blocks: &[Pem]| blocks.iter().map(|block| block.label.clone()).collect::<Vec<_>>().join(" ");
    let is_key = |block: &Pem| block.label == "PRIVATE KEY" || block.label.ends_with(" PRIVATE KEY");
    let Some(leaf) = certificates.iter().find(|block| block.label == "CERTIFICATE") else {
        return Some(match &*certificates {
            [] => "tls: failed to find any PEM data in certificate input".into(),
            [only] if is_key(only) => "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched".into(),
            others => format!(
                r#"tls: failed to find "CERTIFICATE" PEM block in certificate input after skipping PEM blocks of the following types: [{}]"#,
                labels(others)
            ),
        });
    };
    if !keys.iter().any(is_key) {
        return Some(match &*keys {
            [] => "tls: failed to find any PEM data in key input".into(),
            [only] if only.label == "CERTIFICATE" => {
                "tls: found a certificate rather than a key in the PEM for the private key".into()
            }
            others => format!(
                r#"tls: failed to find PEM block with type ending in "PRIVATE KEY" in key input after skipping PEM blocks of the following types: [{}]"#,
                labels(others)
            ),
        });
    }
    let Ok((_, leaf)) = X509Certificate::from_der(&leaf.contents) else {
        return Some("x509: malformed certificate".into());
    };
    let key = PrivateKeyDer::from_pem_slice(key).ok().and_then(|key| any_supported_type(&key).ok());
    let Some(key) = key else { return Some("tls: failed to parse private key".into()) };
    let is_of_leaf = key.public_key().is_none_or(|own| own.as_ref() == leaf.public_key().raw);
    (!is_of_leaf).then(|| "tls: private key does not match public key".into())
}

#[cfg(test)]
mod tests;
