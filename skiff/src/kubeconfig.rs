//! Kubeconfig files: the daemons' own, and the cluster's entries in the user's.
//!
//! The user's file is changed under the lock that kubectl takes (`FILE.lock`) and
//! replaced in one step; entries of other clusters are kept as they are.
//! Corresponds to kind's handling of kubeconfig.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use serde_yaml_ng::{Mapping, Value};

use crate::files;

/// How long another writer may hold the lock.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who talks to which API server.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The name of the context and of the cluster's entry.
    pub context: String,
    /// The name of the user's entry.
    pub user: String,
    /// The API server's URL.
    pub server: String,
    /// PEM of the authority that vouches for the server.
    pub authority: String,
    /// PEM of the client's certificate.
    pub cert: String,
    /// PEM of the client's key.
    pub key: String,
}

fn map(entries: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    Value::Mapping(entries.into_iter().map(|(key, value)| (Value::from(key), value)).collect())
}

fn text(text: &str) -> Value {
    Value::from(text)
}

fn data(pem: &str) -> Value {
    Value::from(base64::engine::general_purpose::STANDARD.encode(pem))
}

/// The three lists of a kubeconfig, each with its entry of this identity.
fn entries(identity: &Identity) -> [(&'static str, Value); 3] {
    let cluster =
        map([("server", text(&identity.server)), ("certificate-authority-data", data(&identity.authority))]);
    let user =
        map([("client-certificate-data", data(&identity.cert)), ("client-key-data", data(&identity.key))]);
    let context = map([("cluster", text(&identity.context)), ("user", text(&identity.user))]);
    [
        ("clusters", map([("name", text(&identity.context)), ("cluster", cluster)])),
        ("users", map([("name", text(&identity.user)), ("user", user)])),
        ("contexts", map([("name", text(&identity.context)), ("context", context)])),
    ]
}

/// A kubeconfig for one identity.
pub fn render(identity: &Identity) -> Result<String> {
    let mut file = Mapping::new();
    merge(&mut file, identity);
    serde_yaml_ng::to_string(&file).context("cannot write a kubeconfig")
}

fn named(entry: &Value, name: &str) -> bool {
    entry.get("name").and_then(Value::as_str) == Some(name)
}

/// Puts the identity's entries in, replaces those of the same name, and makes its context the current one.
fn merge(file: &mut Mapping, identity: &Identity) {
    let mut default = |key: &str, value: &str| {
        if !file.contains_key(key) {
            file.insert(key.into(), value.into());
        }
    };
    default("apiVersion", "v1");
    default("kind", "Config");
    for (list, mut entry) in entries(identity) {
        let name = entry.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut present = file.get(list).and_then(Value::as_sequence).cloned().unwrap_or_default();
        match present.iter_mut().find(|other| named(other, &name)) {
            Some(place) => {
                // What a person set there, as a namespace, stays.
                let kept = place.get("context").and_then(Value::as_mapping);
                if let Some(context) = entry.get_mut("context").and_then(Value::as_mapping_mut) {
                    for (key, value) in kept.into_iter().flatten() {
                        context.entry(key.clone()).or_insert_with(|| value.clone());
                    }
                }
                *place = entry;
            }
            None => present.push(entry),
        }
        file.insert(list.into(), Value::Sequence(present));
    }
    file.insert("current-context".into(), text(&identity.context));
}

/// Takes the entries called `context` out. Says whether there were any.
fn cut(file: &mut Mapping, context: &str) -> bool {
    let mut changed = false;
    for list in ["clusters", "users", "contexts"] {
        if let Some(entries) = file.get_mut(list).and_then(Value::as_sequence_mut) {
            let before = entries.len();
            entries.retain(|entry| !named(entry, context));
            changed |= entries.len() != before;
        }
    }
    if file.get("current-context").and_then(Value::as_str) == Some(context) {
        file.insert("current-context".into(), "".into());
        changed = true;
    }
    changed
}

/// The file that kubectl would change: the one given, else `$KUBECONFIG`, else `~/.kube/config`.
pub fn path(given: Option<&Path>, variable: Option<&str>, home: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = given {
        return std::path::absolute(path).with_context(|| format!("{} is no path", path.display()));
    }
    let listed: Vec<&str> = variable.unwrap_or_default().split(':').filter(|part| !part.is_empty()).collect();
    let chosen = listed.iter().find(|part| Path::new(part).exists()).or(listed.last());
    match (chosen, home) {
        (Some(chosen), _) => std::path::absolute(chosen).with_context(|| format!("{chosen} is no path")),
        (None, Some(home)) => Ok(home.join(".kube/config")),
        (None, None) => bail!("neither $KUBECONFIG nor $HOME is set: say --kubeconfig FILE"),
    }
}

/// kubectl's lock on a kubeconfig: a file beside it that only one can make.
struct Lock(PathBuf);

impl Lock {
    fn take(file: &Path) -> Result<Lock> {
        let mut name = file.as_os_str().to_owned();
        name.push(".lock");
        let path = PathBuf::from(name);
        let deadline = Instant::now() + PATIENCE;
        loop {
            match fs::OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(_) => return Ok(Lock(path)),
                Err(e) if e.kind() == ErrorKind::AlreadyExists && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                    bail!(
                        "somebody else is changing {}: if nobody is, remove {}",
                        file.display(),
                        path.display()
                    )
                }
                Err(e) => return Err(e).with_context(|| format!("cannot make {}", path.display())),
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // If it cannot be removed the next writer is told its name.
        let _ = fs::remove_file(&self.0);
    }
}

fn parse(path: &Path, content: &str) -> Result<Mapping> {
    if content.trim().is_empty() {
        return Ok(Mapping::new());
    }
    match serde_yaml_ng::from_str(content) {
        Ok(Value::Mapping(file)) => Ok(file),
        Ok(Value::Null) => Ok(Mapping::new()),
        Ok(_) => bail!("{} is not a kubeconfig", path.display()),
        Err(e) => Err(e).with_context(|| format!("{} is not a kubeconfig", path.display())),
    }
}

/// Fails unless `path` can take a cluster's entries, whose folder is made if need be.
pub fn check(path: &Path) -> Result<()> {
    make_parent(path)?;
    change(path, |_| false)
}

fn change(path: &Path, edit: impl FnOnce(&mut Mapping) -> bool) -> Result<()> {
    // A link stays a link: its target is what changes.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let parent = path.parent().with_context(|| format!("{} is no file", path.display()))?;
    let _lock = Lock::take(&path)?;
    if path.exists() && !path.is_file() {
        bail!("{} is no file", path.display());
    }
    let (content, mode) = match fs::read_to_string(&path) {
        Ok(content) => (content, fs::metadata(&path)?.permissions().mode() & 0o777),
        Err(e) if e.kind() == ErrorKind::NotFound => (String::new(), 0o600),
        Err(e) => return Err(e).with_context(|| format!("cannot read {}", path.display())),
    };
    let owner = fs::metadata(&path).or_else(|_| fs::metadata(parent))?;
    let mut file = parse(&path, &content)?;
    if !edit(&mut file) {
        return Ok(());
    }
    files::replace(&path, serde_yaml_ng::to_string(&file)?.as_bytes(), mode)?;
    // Under sudo the file stays its user's.
    std::os::unix::fs::chown(&path, Some(owner.uid()), Some(owner.gid()))
        .with_context(|| format!("cannot give {} back to its owner", path.display()))
}

fn make_parent(path: &Path) -> Result<()> {
    let parent = path.parent().with_context(|| format!("{} is no file", path.display()))?;
    if !parent.exists() {
        files::make_dir(parent)?;
        if let Some(owner) = parent.parent().and_then(|home| fs::metadata(home).ok()) {
            std::os::unix::fs::chown(parent, Some(owner.uid()), Some(owner.gid()))
                .with_context(|| format!("cannot give {} to its owner", parent.display()))?;
        }
    }
    Ok(())
}

/// Adds the identity to the user's kubeconfig and makes it current.
pub fn add(path: &Path, identity: &Identity) -> Result<()> {
    make_parent(path)?;
    change(path, |file| {
        merge(file, identity);
        true
    })
}

/// Puts the identity's renewed credentials in the place of those that are still in the user's kubeconfig.
pub fn renew(path: &Path, identity: &Identity) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    change(path, |file| {
        let users = file.get_mut("users").and_then(Value::as_sequence_mut);
        let present = users.and_then(|users| users.iter_mut().find(|user| named(user, &identity.user)));
        let [_, (_, renewed), _] = entries(identity);
        present.is_some_and(|present| std::mem::replace(present, renewed.clone()) != renewed)
    })
}

/// Takes the context and what belongs to it out of the user's kubeconfig.
pub fn remove(path: &Path, context: &str) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    change(path, |file| cut(file, context))
}

#[cfg(test)]
mod tests;
