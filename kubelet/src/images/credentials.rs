//! Credentials for registries from the pod's `imagePullSecrets`, in Docker's two formats.
//! Corresponds to upstream's `pkg/credentialprovider`.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::{Pod, Secret};
use proto::cri::AuthConfig;

use super::reference;
use crate::pod_spec;
use crate::referenced_objects::{Objects, REFRESH_AGE};

#[derive(Default, serde::Deserialize)]
struct Entry {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    auth: String,
    #[serde(default)]
    identitytoken: String,
}

#[derive(serde::Deserialize)]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

/// The pod's credentials for an image, in the order of its secrets. A secret that cannot be had or read
/// is no obstacle: the pull may succeed without it, and says so when not.
pub(super) async fn of_pod(objects: &Objects, pod: &Pod, image: &str) -> Vec<AuthConfig> {
    let mut found = Vec::new();
    for reference in pod_spec::spec(pod).image_pull_secrets.iter().flatten() {
        match objects.secret(pod_spec::namespace(pod), &reference.name, REFRESH_AGE).await {
            Ok(Some(secret)) => found.extend(matching(&secret, image)),
            Ok(None) => {
                tracing::info!(
                    pod = pod_spec::described(pod),
                    secret = reference.name,
                    "Pull secret not found"
                )
            }
            Err(error) => {
                tracing::warn!(pod = pod_spec::described(pod), secret = reference.name, %error, "Cannot read pull secret");
            }
        }
    }
    found
}

fn matching(secret: &Secret, image: &str) -> Vec<AuthConfig> {
    let data =
        |key: &str| secret.data.as_ref().and_then(|data| data.get(key)).map(|bytes| bytes.0.as_slice());
    let entries = if let Some(json) = data(".dockerconfigjson") {
        serde_json::from_slice::<Config>(json).map(|config| config.auths)
    } else if let Some(json) = data(".dockercfg") {
        serde_json::from_slice(json)
    } else {
        return Vec::new();
    };
    let Ok(entries) = entries else {
        tracing::info!(secret = secret.metadata.name, "Pull secret is no Docker configuration");
        return Vec::new();
    };
    entries.into_iter().filter(|(place, _)| covers(place, image)).map(|(_, entry)| auth(entry)).collect()
}

/// Whether credentials for a registry, perhaps only for a path on it, are for an image.
fn covers(place: &str, image: &str) -> bool {
    let place = place.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let (host, path) = place.split_once('/').unwrap_or((place, ""));
    let registry = reference::registry(image);
    let docker = matches!(host, "index.docker.io" | "docker.io" | "registry-1.docker.io");
    let path = if matches!(path, "v1" | "v2") { "" } else { path };
    let same_host = host == registry || (docker && registry == "docker.io") || wildcard(host, registry);
    same_host && image[registry.len()..].trim_start_matches('/').starts_with(path)
}

/// `*.example.com` stands for one more name.
fn wildcard(pattern: &str, host: &str) -> bool {
    let (pattern, host): (Vec<&str>, Vec<&str>) = (pattern.split('.').collect(), host.split('.').collect());
    pattern.len() == host.len() && pattern.iter().zip(&host).all(|(p, h)| *p == "*" || p == h)
}

fn auth(entry: Entry) -> AuthConfig {
    let decoded = STANDARD.decode(entry.auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let (username, password) = match decoded.as_deref().and_then(|text| text.split_once(':')) {
        Some((username, password)) => (username.to_owned(), password.trim_end_matches('\0').to_owned()),
        None => (entry.username, entry.password),
    };
    AuthConfig { username, password, identity_token: entry.identitytoken, ..AuthConfig::default() }
}

#[cfg(test)]
mod tests;
