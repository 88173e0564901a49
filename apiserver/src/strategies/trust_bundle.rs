//! Whether a ClusterTrustBundle holds certificates of authorities.

use std::{collections::BTreeMap, io::Cursor, iter};

use api::{
    field::{Errors, Path},
    object::ObjectExt as _,
};
use serde_json::Value;
use x509_parser::{
    error::PEMError,
    pem::Pem,
    prelude::{FromDer as _, X509Certificate},
};

/// How large a bundle may be, in bytes.
const LARGEST: usize = 1 << 20;

/// What is wrong with the certificates of a bundle. Those that stay as they were are not looked at again.
pub fn errors(new: &Value, old: Option<&Value>) -> Errors {
    let text = |bundle: &Value| bundle.str_at(&["spec", "trustBundle"]).to_owned();
    let mut errors = Errors::default();
    let (pem, at) = (text(new), Path::new("spec.trustBundle"));
    if old.is_some_and(|old| text(old) == pem) {
        return errors;
    }
    if pem.len() > LARGEST {
        errors.too_long(&at, LARGEST);
        return errors;
    }
    let mut wrong = |why: String| errors.invalid(&at, "<value omitted>", why);
    let (mut seen, mut broken) = (BTreeMap::<Vec<u8>, Vec<usize>>::new(), false);
    for (i, block) in blocks(&pem).enumerate() {
        let why = match &block {
            None => Some("has PEM block headers".to_owned()),
            Some(block) if block.label != "CERTIFICATE" => {
                Some(format!("has bad block type: {}", block.label))
            }
            Some(block) => match X509Certificate::from_der(&block.contents) {
                Ok(([], certificate)) if certificate.is_ca() => None,
                Ok(([], _)) => Some("does not have the CA bit set".to_owned()),
                _ => Some("does not parse as X.509".to_owned()),
            },
        };
        match (why, block) {
            (Some(why), _) => {
                broken = true;
                wrong(format!("entry {i} {why}"));
            }
            (None, block) => seen.entry(block.map(|b| b.contents).unwrap_or_default()).or_default().push(i),
        }
    }
    if broken {
        return errors;
    }
    if seen.is_empty() {
        wrong("at least one trust anchor must be provided".to_owned());
    }
    for indices in seen.into_values().filter(|indices| indices.len() > 1) {
        let indices: Vec<_> = indices.iter().map(usize::to_string).collect();
        wrong(format!("duplicate trust anchor (indices [{}])", indices.join(" ")));
    }
    errors
}

/// The blocks of a text, none for one that has headers. What does not decode is no block.
fn blocks(pem: &str) -> impl Iterator<Item = Option<Pem>> {
    let mut at = Cursor::new(pem);
    iter::from_fn(move || {
        loop {
            let before = usize::try_from(at.position()).ok()?;
            match Pem::read(&mut at) {
                Ok((block, _)) => return Some(Some(block)),
                Err(PEMError::MissingHeader) => return None,
                Err(_) => {}
            }
            let read = pem.get(before..usize::try_from(at.position()).ok()?)?;
            let block = read.split_once("-----BEGIN ").map_or("", |(_comment, block)| block);
            if block.lines().nth(1).is_some_and(|line| line.contains(':')) {
                return Some(None);
            }
        }
    })
}

#[cfg(test)]
mod tests;
