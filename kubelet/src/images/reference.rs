//! Names of images: `nginx` means `docker.io/library/nginx:latest`. Pure.
//! Corresponds to `distribution/reference`.

use api::{Message, message};

const FORMAT: &str = "invalid reference format";

/// The full name of an image, with registry and tag.
pub fn normalize(name: &str) -> Result<String, Message> {
    if name.is_empty() || name.trim() != name {
        return Err(FORMAT.to_owned().into());
    }
    if name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(message!("invalid repository name ({name}), cannot specify 64-byte hexadecimal strings"));
    }
    let (domain, rest) = split_domain(name);
    let (rest, digest) = match rest.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (rest.as_str(), None),
    };
    let (path, tag) = match rest.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (rest, None),
    };
    // The text before the first colon is what was meant as the name.
    let meant = rest.split(':').next().unwrap_or_default();
    if meant.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(message!("{FORMAT}: repository name ({meant}) must be lowercase"));
    }
    let good_path = path.split('/').all(good_component);
    let good_tag = tag.is_none_or(|tag| {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let mut bytes = tag.bytes();
        tag.len() <= 128 && bytes.next().is_some_and(word) && bytes.all(|b| word(b) || b == b'.' || b == b'-')
    });
    let good_digest = digest.is_none_or(|digest| {
        digest.split_once(':').is_some_and(|(algorithm, hex)| {
            !algorithm.is_empty() && hex.len() >= 32 && hex.bytes().all(|b| b.is_ascii_hexdigit())
        })
    });
    if !good_path || !good_tag || !good_digest {
        return Err(FORMAT.to_owned().into());
    }
    let tag = match (tag, digest) {
        (Some(tag), _) => format!(":{tag}"),
        (None, Some(_)) => String::new(),
        (None, None) => ":latest".to_owned(),
    };
    let digest = digest.map(|digest| format!("@{digest}")).unwrap_or_default();
    Ok(format!("{domain}/{path}{tag}{digest}"))
}

/// Registry and the rest; what has no registry is Docker's.
fn split_domain(name: &str) -> (String, String) {
    let (domain, rest) = match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':']) || first == "localhost" || first.to_lowercase() != first =>
        {
            (first, rest.to_owned())
        }
        _ => ("docker.io", name.to_owned()),
    };
    let domain = if domain == "index.docker.io" { "docker.io" } else { domain };
    let official = domain == "docker.io" && !rest.contains('/');
    (domain.to_owned(), if official { format!("library/{rest}") } else { rest })
}

/// Lower-case words joined by one `.`, one or two `_`, or any number of `-`.
fn good_component(component: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let ends = bytes.first().is_some_and(|b| word(*b)) && bytes.last().is_some_and(|b| word(*b));
    let joined = component
        .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .filter(|between| !between.is_empty())
        .all(|between| matches!(between, "." | "_" | "__") || between.bytes().all(|b| b == b'-'));
    ends && joined
}

/// The registry of a full name.
pub fn registry(full: &str) -> &str {
    full.split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests;
