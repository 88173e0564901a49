//! Whether a ClusterTrustBundle holds certificates of authorities, and what becomes of volumes of bundles where there are
//! none.

use std::collections::BTreeMap;

use api::{
    field::{Errors, Path},
    object::ObjectExt as _,
};
use serde_json::Value;
use x509_parser::{
    pem::Pem,
    prelude::{FromDer as _, X509Certificate},
};

use crate::{context::Ctx, resources::CLUSTER_TRUST_BUNDLES};

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
    // What is no block is not counted; what has a colon in it has headers.
    let blocks = Pem::iter_from_buffer(pem.as_bytes()).filter(|block| block.is_ok() || pem.contains(':'));
    for (i, block) in blocks.enumerate() {
        let why = match &block {
            Err(_) => Some("has PEM block headers".to_owned()),
            Ok(block) if block.label != "CERTIFICATE" => Some(format!("has bad block type: {}", block.label)),
            Ok(block) => match X509Certificate::from_der(&block.contents) {
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

/// Where the pods' volumes of built-in kinds are.
const VOLUMES: [&str; 4] = [
    "/spec/volumes",
    "/spec/template/spec/volumes",
    "/spec/jobTemplate/spec/template/spec/volumes",
    "/template/spec/volumes",
];

/// Takes volumes of bundles away where bundles are not served, without a word, as upstream does, unless there were some.
pub fn drop_unserved(ctx: &Ctx, new: &mut Value, old: Option<&Value>) {
    let used = |object: &Value| VOLUMES.iter().any(|at| object.pointer(at).is_some_and(has_bundle));
    if ctx.kind.is_custom()
        || !used(new)
        || old.is_some_and(used)
        || CLUSTER_TRUST_BUNDLES.row(&ctx.api.table()).is_ok()
    {
        return;
    }
    let volumes = VOLUMES.iter().find_map(|at| new.pointer(at).is_some().then_some(*at));
    let volumes = volumes.and_then(|at| new.pointer_mut(at)).and_then(Value::as_array_mut);
    for volume in volumes.into_iter().flatten() {
        let sources = volume.pointer_mut("/projected/sources").and_then(Value::as_array_mut);
        for source in sources.into_iter().flatten().filter_map(Value::as_object_mut) {
            source.remove("clusterTrustBundle");
        }
    }
}

fn has_bundle(volumes: &Value) -> bool {
    let volumes = volumes.as_array().into_iter().flatten();
    let mut sources = volumes.flat_map(|volume| volume.list_at(&["projected", "sources"]));
    sources.any(|source| source.get("clusterTrustBundle").is_some())
}

#[cfg(test)]
mod tests;
