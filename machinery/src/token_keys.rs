//! Keys of tokens: the one that signs those of service accounts, and those, ours and other issuers', that check signatures.
//! ECDSA on P-256 and P-384, and RSA, in every form that upstream reads but P-521, which `ring` does not know.
//!
//! Counterpart of client-go's `keyutil` and of `serviceaccount/jwt.go`.

use std::{fmt, path::Path};

use anyhow::{Context as _, anyhow, ensure};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    rsa,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED,
        ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair as _,
        RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PKCS1_SHA256,
        RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, UnparsedPublicKey,
        VerificationAlgorithm,
    },
};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use x509_parser::{
    pem::Pem,
    prelude::{FromDer as _, SubjectPublicKeyInfo, X509Certificate},
    public_key::RSAPublicKey,
};

/// The names of all ways in which a signature can be checked here.
pub const ALGORITHMS: [&str; 8] = ["ES256", "ES384", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"];

/// A kind of key, named by how it signs here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Es256,
    Es384,
    Rs256,
}

/// What DER says of what is below.
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;

impl Algorithm {
    const ALL: [Self; 3] = [Self::Es256, Self::Es384, Self::Rs256];

    fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Rs256 => "RS256",
        }
    }

    /// How the signature of such a key is checked that calls itself so.
    fn verification(self, name: &str) -> Option<&'static dyn VerificationAlgorithm> {
        Some(match (self, name) {
            (Self::Es256, "ES256") => &ECDSA_P256_SHA256_FIXED,
            (Self::Es384, "ES384") => &ECDSA_P384_SHA384_FIXED,
            (Self::Rs256, "RS256") => &RSA_PKCS1_2048_8192_SHA256,
            (Self::Rs256, "RS384") => &RSA_PKCS1_2048_8192_SHA384,
            (Self::Rs256, "RS512") => &RSA_PKCS1_2048_8192_SHA512,
            (Self::Rs256, "PS256") => &RSA_PSS_2048_8192_SHA256,
            (Self::Rs256, "PS384") => &RSA_PSS_2048_8192_SHA384,
            (Self::Rs256, "PS512") => &RSA_PSS_2048_8192_SHA512,
            _ => return None,
        })
    }

    /// The AlgorithmIdentifier of its keys.
    fn identifier(self) -> Vec<u8> {
        /// `id-ecPublicKey`, `prime256v1`, `secp384r1`; `rsaEncryption` and the parameters it does not have.
        const EC: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
        const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
        const P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
        const RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
        const NULL: &[u8] = &[0x05, 0x00];
        let (kind, parameters) = match self {
            Self::Es256 => (EC, P256),
            Self::Es384 => (EC, P384),
            Self::Rs256 => (RSA, NULL),
        };
        der(SEQUENCE, &[kind, parameters])
    }

    /// The SubjectPublicKeyInfo of a key.
    fn info(self, key: &[u8]) -> Vec<u8> {
        der(SEQUENCE, &[&self.identifier(), &der(BIT_STRING, &[&[0], key])])
    }
}

/// A value in DER, made of its parts.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let contents = parts.concat();
    let length = contents.len().to_be_bytes();
    let length = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let mut value = vec![tag];
    match length {
        [] => value.push(0),
        [short] if *short < 0x80 => value.push(*short),
        long => {
            value.push(0x80 | u8::try_from(long.len()).expect("a length has at most eight bytes"));
            value.extend_from_slice(long);
        }
    }
    value.extend(contents);
    value
}

/// A key that signs.
pub struct SigningKey {
    pair: Pair,
    public: PublicKey,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("SigningKey").field(&self.public.id()).finish()
    }
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Rsa(rsa::KeyPair),
}

impl SigningKey {
    /// The first private key in a PEM file: PKCS#8, SEC1 or PKCS#1.
    ///
    /// # Errors
    /// When the file cannot be read or holds no such key.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let mut why = anyhow!("data does not contain a valid RSA or ECDSA private key");
        for block in blocks(path)? {
            match Self::of(&block) {
                Ok(Some(key)) => return Ok(key),
                Ok(None) => {}
                Err(error) => why = error,
            }
        }
        Err(why.context(format!("cannot use the key in {}", path.display())))
    }

    /// The private key in a block; `None` for what holds something else, such as `EC PARAMETERS`.
    fn of(block: &Pem) -> anyhow::Result<Option<Self>> {
        let bytes = block.contents.as_slice();
        let ec = |bytes: &[u8], algorithm: Algorithm, signing: &'static EcdsaSigningAlgorithm| {
            let pair = EcdsaKeyPair::from_pkcs8(signing, bytes, &SystemRandom::new())?;
            let public = PublicKey::new(algorithm, pair.public_key().as_ref());
            Ok::<_, ring::error::KeyRejected>(Self { pair: Pair::Ecdsa(pair), public })
        };
        let of_rsa = |pair: rsa::KeyPair| {
            let public = PublicKey::new(Algorithm::Rs256, pair.public_key().as_ref());
            Self { pair: Pair::Rsa(pair), public }
        };
        let curves = [
            (Algorithm::Es256, &ECDSA_P256_SHA256_FIXED_SIGNING),
            (Algorithm::Es384, &ECDSA_P384_SHA384_FIXED_SIGNING),
        ];
        let read = match block.label.as_str() {
            "PRIVATE KEY" => {
                let ec = curves.iter().find_map(|(algorithm, signing)| ec(bytes, *algorithm, signing).ok());
                ec.map_or_else(|| rsa::KeyPair::from_pkcs8(bytes).map(of_rsa), Ok)
            }
            "RSA PRIVATE KEY" => rsa::KeyPair::from_der(bytes).map(of_rsa),
            "EC PRIVATE KEY" => {
                let wrapped = |algorithm: Algorithm| {
                    let key = der(OCTET_STRING, &[bytes]);
                    der(SEQUENCE, &[&der(INTEGER, &[&[0]]), &algorithm.identifier(), &key])
                };
                let [first, second] =
                    curves.map(|(algorithm, signing)| ec(&wrapped(algorithm), algorithm, signing));
                first.or(second)
            }
            _ => return Ok(None),
        };
        let key = read
            .map_err(|why| anyhow!("neither RSA nor ECDSA on P-256 or P-384 with its public key: {why}"))?;
        Ok(Some(key))
    }

    /// The key that checks its signatures.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Claims as a signed token: a JSON Web Token in its compact form (RFC 7515).
    ///
    /// # Errors
    /// Only when the system has no randomness.
    pub fn token(&self, claims: &impl Serialize) -> anyhow::Result<String> {
        let (algorithm, kid) = (self.public.algorithm(), self.public.id());
        let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{algorithm}","kid":"{kid}"}}"#));
        let body = URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims)?);
        let signed = format!("{header}.{body}");
        let signature = self.sign(signed.as_bytes())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// Signs.
    ///
    /// # Errors
    /// Only when the system has no randomness.
    pub fn sign(&self, message: &[u8]) -> anyhow::Result<Vec<u8>> {
        let random = SystemRandom::new();
        let failed = |_| anyhow!("cannot sign");
        match &self.pair {
            Pair::Ecdsa(pair) => Ok(pair.sign(&random, message).map_err(failed)?.as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

/// A key that checks signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    algorithm: Algorithm,
    /// A point, or a modulus and an exponent in DER.
    key: Vec<u8>,
    id: String,
}

impl PublicKey {
    fn new(algorithm: Algorithm, key: &[u8]) -> Self {
        let id = URL_SAFE_NO_PAD.encode(Sha256::digest(algorithm.info(key)));
        Self { algorithm, key: key.to_vec(), id }
    }

    /// All keys in a PEM file: public ones, those of private ones, and those of certificates.
    ///
    /// # Errors
    /// When the file cannot be read or holds none, or one of another kind.
    pub fn load_all(path: &Path) -> anyhow::Result<Vec<Self>> {
        let unusable = || format!("cannot use the keys in {}", path.display());
        let mut keys = Vec::new();
        for block in blocks(path)? {
            keys.extend(Self::of(&block).with_context(unusable)?);
        }
        ensure!(
            !keys.is_empty(),
            "data does not contain any valid RSA or ECDSA public keys in {}",
            path.display()
        );
        Ok(keys)
    }

    fn of(block: &Pem) -> anyhow::Result<Option<Self>> {
        let bytes = block.contents.as_slice();
        let malformed = |error| anyhow!("malformed {}: {error}", block.label);
        match block.label.as_str() {
            "PUBLIC KEY" => {
                Self::of_info(&SubjectPublicKeyInfo::from_der(bytes).map_err(malformed)?.1).map(Some)
            }
            "CERTIFICATE" => {
                Self::of_info(X509Certificate::from_der(bytes).map_err(malformed)?.1.public_key()).map(Some)
            }
            _ => Ok(SigningKey::of(block)?.map(|key| key.public)),
        }
    }

    fn of_info(info: &SubjectPublicKeyInfo<'_>) -> anyhow::Result<Self> {
        let key = info.subject_public_key.data.as_ref();
        // As DER has one way to say a thing, bytes are compared.
        let algorithm = Algorithm::ALL.into_iter().find(|algorithm| algorithm.info(key) == info.raw);
        let algorithm = algorithm.context("a key that is neither RSA nor ECDSA on P-256 or P-384")?;
        Ok(Self::new(algorithm, key))
    }

    /// What the key is called: one of ours by the digest of its DER form, as upstream has it; another issuer's as that says.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What its signatures are called.
    pub fn algorithm(&self) -> &'static str {
        self.algorithm.name()
    }

    /// Whether the key's owner signed a message in the way that is called so.
    pub fn verify(&self, algorithm: &str, message: &[u8], signature: &[u8]) -> bool {
        let how = self.algorithm.verification(algorithm);
        how.is_some_and(|how| UnparsedPublicKey::new(how, &self.key).verify(message, signature).is_ok())
    }

    /// The key in a JSON Web Key, by the name it has there; `None` for one of another kind.
    pub fn of_json(key: &Value) -> Option<Self> {
        let text = |part: &str| key.get(part).and_then(Value::as_str);
        let number = |part: &str| URL_SAFE_NO_PAD.decode(text(part)?).ok();
        let (algorithm, bytes) = match (text("kty")?, text("crv"), text("use")) {
            (_, _, Some(other)) if other != "sig" => return None,
            ("EC", Some("P-256"), _) => (Algorithm::Es256, [vec![4], number("x")?, number("y")?].concat()),
            ("EC", Some("P-384"), _) => (Algorithm::Es384, [vec![4], number("x")?, number("y")?].concat()),
            ("RSA", ..) => {
                let [modulus, exponent] = ["n", "e"].map(number);
                // As short as can be, and no less than nothing, as DER has it.
                let positive = |number: Vec<u8>| {
                    let number = &number[number.iter().take_while(|byte| **byte == 0).count()..];
                    let sign: &[u8] =
                        if number.first().is_some_and(|first| *first >= 0x80) { &[0] } else { &[] };
                    der(INTEGER, &[sign, number])
                };
                (Algorithm::Rs256, der(SEQUENCE, &[&positive(modulus?), &positive(exponent?)]))
            }
            _ => return None,
        };
        Some(Self { id: text("kid").unwrap_or_default().to_owned(), ..Self::new(algorithm, &bytes) })
    }

    /// The key as a JSON Web Key.
    pub fn json(&self) -> Value {
        let mut key = json!({"use": "sig", "kid": self.id, "alg": self.algorithm()});
        let (kind, curve, parts) = match self.algorithm {
            Algorithm::Es256 => ("EC", Some("P-256"), self.coordinates()),
            Algorithm::Es384 => ("EC", Some("P-384"), self.coordinates()),
            Algorithm::Rs256 => ("RSA", None, self.modulus_and_exponent()),
        };
        key["kty"] = kind.into();
        if let Some(curve) = curve {
            key["crv"] = curve.into();
        }
        for (name, part) in parts {
            key[name] = URL_SAFE_NO_PAD.encode(part).into();
        }
        key
    }

    fn coordinates(&self) -> Vec<(&'static str, &[u8])> {
        // An uncompressed point: a mark and the two coordinates.
        let coordinates = self.key.get(1..).unwrap_or_default();
        let (x, y) = coordinates.split_at(coordinates.len() / 2);
        vec![("x", x), ("y", y)]
    }

    fn modulus_and_exponent(&self) -> Vec<(&'static str, &[u8])> {
        // Keys were parsed when they were read; DER's sign is not wanted.
        fn unsigned(number: &[u8]) -> &[u8] {
            number.strip_prefix(&[0]).unwrap_or(number)
        }
        let parsed = RSAPublicKey::from_der(&self.key);
        let parsed = parsed.map(|(_, key)| [("n", unsigned(key.modulus)), ("e", unsigned(key.exponent))]);
        parsed.map(Vec::from).unwrap_or_default()
    }
}

fn blocks(path: &Path) -> anyhow::Result<Vec<Pem>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    // Text between blocks, and what is cut off, is passed over, as upstream does.
    Ok(Pem::iter_from_buffer(&bytes).filter_map(Result::ok).collect())
}

#[cfg(test)]
mod tests;
