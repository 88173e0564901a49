use rcgen::{CertificateParams, KeyPair};

use super::unusable;

#[test]
fn pairs_that_do_not_fit_are_told_in_gos_words() {
    let pair = || {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::default().self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    };
    let ((certificate, key), (_, other)) = (pair(), pair());
    let strange = "-----BEGIN THING-----\nYQ==\n-----END THING-----\n";
    let broken = "-----BEGIN CERTIFICATE-----\nYQ==\n-----END CERTIFICATE-----\n";
    let no_key = "-----BEGIN PRIVATE KEY-----\nYQ==\n-----END PRIVATE KEY-----\n";
    for (certificate, key, told) in [
        (&*certificate, &*key, ""),
        (&certificate, &other, "tls: private key does not match public key"),
        ("", &key, "tls: failed to find any PEM data in certificate input"),
        (
            &key,
            &key,
            "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched",
        ),
        (
            strange,
            &key,
            r#"tls: failed to find "CERTIFICATE" PEM block in certificate input after skipping PEM blocks of the following types: [THING]"#,
        ),
        (&certificate, "words", "tls: failed to find any PEM data in key input"),
        (
            &certificate,
            &certificate,
            "tls: found a certificate rather than a key in the PEM for the private key",
        ),
        (
            &certificate,
            strange,
            r#"tls: failed to find PEM block with type ending in "PRIVATE KEY" in key input after skipping PEM blocks of the following types: [THING]"#,
        ),
        (broken, &key, "x509: malformed certificate"),
        (&certificate, no_key, "tls: failed to parse private key"),
    ] {
        let found = unusable(certificate.as_bytes(), key.as_bytes());
        assert_eq!(found.unwrap_or_default(), told, "{certificate} {key}");
    }
}
