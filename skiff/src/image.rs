//! Container images made from a few files, without any builder or registry.
//!
//! An [`Image`] has one layer and is written as an archive that containerd, Docker
//! and `skiff load` take, or as the blobs and the manifest that registries take.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Stdio};

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

/// Names of images that begin like this are Skiff's own.
pub const OWN_DOMAIN: &str = "skiff.local/";

/// The name of the image of one of our programs.
pub fn of_program(program: &str) -> String {
    format!("{OWN_DOMAIN}{program}:{}", env!("CARGO_PKG_VERSION"))
}

/// How what is packed begins, and the program that unpacks it.
const PACKERS: [(&[u8], &str); 4] =
    [(b"\x1f\x8b", "gzip"), (b"\xfd7zXZ\0", "xz"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"BZh", "bzip2")];
/// No index of an archive, and no name in it, is longer.
const LONGEST_INDEX: u64 = 4 << 20;

/// An archive as a stream, unpacked by another program if it is packed.
pub struct Archive {
    stream: File,
    unpacker: Option<Child>,
}

impl Archive {
    /// Opens an archive.
    ///
    /// # Errors
    /// What is no file, and what is packed in a way for which there is no program.
    pub fn open(path: &Path) -> Result<Archive> {
        let shown = path.display();
        // Asked before it is opened: a pipe would wait there for somebody to write.
        if !std::fs::metadata(path).with_context(|| format!("cannot read {shown}"))?.is_file() {
            bail!("{shown} is no image archive: it is not even a file");
        }
        let open = || File::open(path).with_context(|| format!("cannot read {shown}"));
        let mut begin = Vec::new();
        open()?.take(8).read_to_end(&mut begin).with_context(|| format!("cannot read {shown}"))?;
        let Some((_, program)) = PACKERS.iter().find(|(magic, _)| begin.starts_with(magic)) else {
            return Ok(Archive { stream: open()?, unpacker: None });
        };
        let mut command = crate::program::command(program);
        command.arg("-dc").stdin(open()?).stdout(Stdio::piped()).stderr(Stdio::null());
        let unpacker = command.spawn().with_context(|| format!("cannot unpack {shown} with {program}"))?;
        let mut archive = Archive { stream: open()?, unpacker: Some(unpacker) };
        if let Some(output) = archive.unpacker.as_mut().and_then(|unpacker| unpacker.stdout.take()) {
            archive.stream = OwnedFd::from(output).into();
        }
        Ok(archive)
    }

    /// The stream, for another program to read.
    pub fn input(&self) -> Result<Stdio> {
        Ok(self.stream.try_clone().context("cannot share an archive")?.into())
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        if let Some(unpacker) = &mut self.unpacker {
            // It may have ended by itself, or been left in the middle: either is fine.
            let _ = unpacker.kill().and_then(|()| unpacker.wait());
        }
    }
}

/// Says which images an archive of a user's holds; refuses a file that is no image archive, and one with Skiff's own.
pub fn names_in(path: &Path) -> Result<Vec<String>> {
    let shown = path.display();
    let archive = Archive::open(path)?;
    let mut begun = false;
    let names = match index_of(&archive.stream, &mut begun) {
        Ok(Some(names)) => names,
        Ok(None) if begun => {
            bail!("{shown} is a tar file but no image archive: neither manifest.json nor index.json is in it")
        }
        Err(e) if begun => bail!("{shown} begins as a tar file but is damaged or cut off: {e:#}"),
        _ => bail!(
            "{shown} is no image archive: expected a tar file as `docker save` or `ctr images export` write it"
        ),
    };
    if names.is_empty() {
        bail!(
            "{shown} holds no image with a name: save it by its name, as in `docker save -o {shown} NAME:TAG`"
        );
    }
    if let Some(own) = names.iter().find(|name| name.starts_with(OWN_DOMAIN)) {
        bail!("{shown} holds {own}: names that begin with {OWN_DOMAIN} are Skiff's own");
    }
    Ok(names)
}

/// The name as people type it: without what is the same for all of Docker's.
fn familiar(name: &str) -> String {
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    name.strip_prefix("library/").unwrap_or(name).to_owned()
}

/// A path as containerd compares it.
fn clean(path: &[u8]) -> String {
    let mut parts = Vec::new();
    for part in String::from_utf8_lossy(path).split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part.to_owned()),
        }
    }
    parts.join("/")
}

fn small(entry: impl Read) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    entry.take(LONGEST_INDEX + 1).read_to_end(&mut content)?;
    anyhow::ensure!(content.len() as u64 <= LONGEST_INDEX, "an index in it is too long");
    Ok(content)
}

/// The names in an archive; `None` if it is a tar of something else. Notes whether it began as a tar.
fn index_of(archive: impl Read, begun: &mut bool) -> Result<Option<Vec<String>>> {
    let (mut found, mut renamed) = (None, None);
    let mut archive = tar::Archive::new(archive);
    // Raw: long names are of whatever length the archive says.
    for entry in archive.entries()?.raw(true) {
        let entry = entry?;
        *begun = true;
        let kind = entry.header().entry_type();
        if kind.is_gnu_longname() {
            renamed = small(entry)?.split(|byte| *byte == 0).next().map(clean);
            continue;
        }
        if kind.is_pax_local_extensions() {
            let extensions = small(entry)?;
            let mut extensions = tar::PaxExtensions::new(&extensions).flatten();
            renamed =
                extensions.find(|e| e.key_bytes() == b"path").map(|e| clean(e.value_bytes())).or(renamed);
            continue;
        }
        let name = renamed.take().unwrap_or_else(|| clean(&entry.path_bytes()));
        if !matches!(name.as_str(), "manifest.json" | "index.json") {
            continue;
        }
        let index: serde_json::Value = serde_json::from_slice(&small(entry)?)?;
        let known: &mut BTreeSet<String> = found.get_or_insert_default();
        for image in index.as_array().into_iter().flatten() {
            let tags = image["RepoTags"].as_array().into_iter().flatten();
            known.extend(tags.filter_map(|tag| tag.as_str().map(familiar)));
        }
        for image in index["manifests"].as_array().into_iter().flatten() {
            let named = |annotation: &str| image["annotations"][annotation].as_str();
            // What is only a tag names nothing.
            let reference =
                named("org.opencontainers.image.ref.name").filter(|name| name.contains([':', '/']));
            known.extend(named("io.containerd.image.name").or(reference).map(familiar));
        }
    }
    Ok(found.map(|names| names.into_iter().collect()))
}

#[cfg(test)]
mod tests;
