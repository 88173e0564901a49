//! Container images made from a few files, without any builder or registry.
//!
//! An [`Image`] has one layer and is written as an archive that containerd, Docker
//! and `skiff load` take, or as the blobs and the manifest that registries take.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::json;
use sha2::{Digest, Sha256};

/// A file of an image.
#[derive(Clone, Debug)]
pub struct ImageFile {
    /// Where it lies, without the leading slash.
    pub path: String,
    /// What is in it.
    pub content: Vec<u8>,
    /// Its permissions.
    pub mode: u32,
}

/// A symbolic link of an image.
#[derive(Clone, Debug)]
pub struct ImageLink {
    /// Where it lies, without the leading slash.
    pub path: String,
    /// Where it leads.
    pub target: String,
}

/// What an image is made of.
#[derive(Clone, Debug, Default)]
pub struct Recipe {
    /// Its name with tag: `http-go:v1`.
    pub name: String,
    /// Its files.
    pub files: Vec<ImageFile>,
    /// Its symbolic links.
    pub links: Vec<ImageLink>,
    /// The program and its first arguments.
    pub entrypoint: Vec<String>,
    /// Environment variables, `NAME=value`.
    pub env: Vec<String>,
}

/// A finished image.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its name with tag.
    pub name: String,
    /// The layer, a tar.
    pub layer: Vec<u8>,
    /// The configuration, JSON.
    pub config: Vec<u8>,
}

/// The digest of a blob as registries write it.
pub fn digest(blob: &[u8]) -> String {
    let hex: String = Sha256::digest(blob).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// How Go and thus images call this machine's processor.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn append(tar: &mut tar::Builder<Vec<u8>>, path: &str, content: &[u8], mode: u32) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    header.set_mtime(0);
    tar.append_data(&mut header, path, content).with_context(|| format!("cannot pack {path}"))
}

impl Recipe {
    /// Makes the image. The same recipe always gives the same bytes.
    pub fn build(&self) -> Result<Image> {
        let mut tar = tar::Builder::new(Vec::new());
        for file in &self.files {
            append(&mut tar, &file.path, &file.content, file.mode)?;
        }
        for link in &self.links {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            header.set_mode(0o777);
            header.set_mtime(0);
            tar.append_link(&mut header, &link.path, &link.target)
                .with_context(|| format!("cannot pack {}", link.path))?;
        }
        let layer = tar.into_inner().context("cannot pack a layer")?;
        let config = json!({
            "created": "1970-01-01T00:00:00Z",
            "architecture": architecture(),
            "os": "linux",
            "config": {"Entrypoint": self.entrypoint, "Env": self.env, "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "skiff"}],
        });
        Ok(Image { name: self.name.clone(), layer, config: serde_json::to_vec(&config)? })
    }
}

impl Image {
    /// The image as an archive in the format of `docker save`.
    pub fn archive(&self) -> Result<Vec<u8>> {
        let config_name = format!("{}.json", digest(&self.config).trim_start_matches("sha256:"));
        let manifest = json!([{"Config": config_name, "RepoTags": [self.name], "Layers": ["layer.tar"]}]);
        let mut tar = tar::Builder::new(Vec::new());
        append(&mut tar, "layer.tar", &self.layer, 0o644)?;
        append(&mut tar, &config_name, &self.config, 0o644)?;
        append(&mut tar, "manifest.json", &serde_json::to_vec(&manifest)?, 0o644)?;
        tar.into_inner().context("cannot pack an image")
    }

    /// The manifest under which a registry lists the image, and its media type.
    pub fn manifest(&self) -> Result<(&'static str, Vec<u8>)> {
        const KIND: &str = "application/vnd.docker.distribution.manifest.v2+json";
        let blob =
            |kind: &str, blob: &[u8]| json!({"mediaType": kind, "size": blob.len(), "digest": digest(blob)});
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": KIND,
            "config": blob("application/vnd.docker.container.image.v1+json", &self.config),
            "layers": [blob("application/vnd.docker.image.rootfs.diff.tar", &self.layer)],
        });
        Ok((KIND, serde_json::to_vec(&manifest)?))
    }
}

/// Says which images an archive holds; refuses a file that is no image archive.
pub fn names_in(path: &Path) -> Result<Vec<String>> {
    let shown = path.display();
    let mut file = std::fs::File::open(path).with_context(|| format!("cannot read {shown}"))?;
    if !file.metadata().with_context(|| format!("cannot read {shown}"))?.is_file() {
        bail!("{shown} is no image archive: it is not even a file");
    }
    let mut magic = [0; 2];
    let packed =
        file.read(&mut magic).with_context(|| format!("cannot read {shown}"))? == 2 && magic == [0x1f, 0x8b];
    let file = std::fs::File::open(path).with_context(|| format!("cannot read {shown}"))?;
    let mut begun = false;
    let found = match packed {
        true => index_of(flate2::read::GzDecoder::new(file), &mut begun),
        false => index_of(file, &mut begun),
    };
    match found {
        Ok(Some(names)) => Ok(names),
        Ok(None) => {
            bail!("{shown} is a tar file but no image archive: neither manifest.json nor index.json is in it")
        }
        Err(e) if begun => bail!("{shown} begins as a tar file but is damaged or cut off: {e:#}"),
        Err(_) => bail!(
            "{shown} is no image archive: expected a tar file as `docker save` or `ctr images export` write it"
        ),
    }
}

/// The name as people type it: without what is the same for all of Docker's.
fn familiar(name: &str) -> String {
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    name.strip_prefix("library/").unwrap_or(name).to_owned()
}

/// The names in an archive; `None` if it is a tar of something else. Notes whether it began as a tar.
fn index_of(archive: impl Read, begun: &mut bool) -> Result<Option<Vec<String>>> {
    let mut found = None;
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries()? {
        let mut entry = entry?;
        *begun = true;
        let path = entry.path()?.to_string_lossy().into_owned();
        let name = path.trim_start_matches("./");
        if !matches!(name, "manifest.json" | "index.json") {
            continue;
        }
        let mut text = String::new();
        entry.read_to_string(&mut text)?;
        let index: serde_json::Value = serde_json::from_str(&text)?;
        let names: Vec<String> = match name {
            "manifest.json" => index
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|image| image["RepoTags"].as_array())
                .flatten()
                .filter_map(|tag| tag.as_str().map(familiar))
                .collect(),
            _ => index["manifests"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|image| image["annotations"]["io.containerd.image.name"].as_str().map(familiar))
                .collect(),
        };
        let known: &mut Vec<String> = found.get_or_insert_default();
        known.extend(names);
        known.sort();
        known.dedup();
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
