//! What is mounted into a container: its volumes, and files of the kubelet's own.

use api::{Message, message};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod, VolumeMount};
use machinery::backoff::Backoff;
use machinery::beneath::{self, Handle};
use machinery::events::EventType::Warning;
use proto::cri::Mount;

use super::Worker;
use crate::dns;
use crate::pod_spec;
use crate::runtime_config::container::{self, VolumePath, absolute};
use crate::runtime_config::expansion::{Environment, LARGEST};
use crate::runtime_config::{env, names};
use crate::volumes::{self, Around, VolumeError, make_private, sub_path};

const HOSTS: &str = "/etc/hosts";

/// Tries that are further apart each time.
struct Tries {
    pauses: Backoff,
    next: Option<Timestamp>,
}

impl Tries {
    /// As upstream tries to mount a volume.
    fn new() -> Self {
        Self { pauses: Backoff::new(Duration::from_millis(500), Duration::from_secs(122)), next: None }
    }

    /// Whether it is time for the next one; else says when it is.
    fn wait_over(&self, now: Timestamp) -> Result<(), Timestamp> {
        self.next.filter(|next| *next > now).map_or(Ok(()), Err)
    }

    /// One failed; answers when the next one is due.
    fn failed(&mut self, now: Timestamp) -> Timestamp {
        *self.next.insert(now + self.pauses.pause())
    }
}

/// How long volumes are waited for until that is told: upstream's `podAttachAndMountTimeout`.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_secs(123);

/// Volumes that are waited for.
struct Late {
    /// Since when, or since it was told last.
    since: Timestamp,
    volumes: BTreeSet<String>,
}

/// The pod's volumes as far as the worker has seen to them.
pub(super) struct Mounted {
    /// Where they can be mounted from; none while that is not known.
    paths: Option<BTreeMap<String, VolumePath>>,
    /// The round in which they were last brought up to date.
    round: u64,
    mounting: Tries,
    unmounting: Tries,
    late: Option<Late>,
}

impl Mounted {
    /// Nothing is known yet.
    pub(super) fn new() -> Self {
        Self { paths: None, round: 0, mounting: Tries::new(), unmounting: Tries::new(), late: None }
    }

    /// Whether they are there.
    pub(super) fn are_there(&self) -> bool {
        self.paths.is_some()
    }

    /// They could not be taken away; answers when to try again.
    pub(super) fn stay(&mut self, now: Timestamp) -> Timestamp {
        self.unmounting.failed(now)
    }

    /// They are made anew.
    pub(super) fn forget(&mut self) {
        self.paths = None;
    }

    /// Some could not be mounted, in a try that began at some time. Where it is not even clear what to mount, each try
    /// tells so, and nobody waits for anything.
    fn failed(&mut self, began: Timestamp, errors: &[VolumeError]) {
        let names = |error: &VolumeError| match error {
            VolumeError::Mount { names, .. } => Some(names.clone()),
            _ => None,
        };
        let since = self.late.as_ref().map_or(began, |late| late.since);
        let volumes: Option<Vec<Vec<String>>> = errors.iter().map(names).collect();
        self.late = volumes.map(|all| Late { since, volumes: all.into_iter().flatten().collect() });
    }
}

impl Worker {
    /// Sees to it that the pod has its volumes and that their files are up to date; on failure tells why and answers
    /// when to try again.
    pub(super) async fn keep_volumes(&mut self, pod: &Arc<Pod>) -> Result<(), Timestamp> {
        let round = self.kubelet.rounds.number(self.kubelet.clock.instant().into_std());
        let is_done = self.volumes.round == round || !volumes::needs_refresh(pod);
        if self.volumes.are_there() && is_done {
            return Ok(());
        }
        let began = self.now();
        if let Err(next) = self.volumes.mounting.wait_over(began) {
            return Err(self.tell_late(pod, next));
        }
        let kubelet = Arc::clone(&self.kubelet);
        let (facts, node) = (kubelet.node_facts(), kubelet.nodes.get(None, &kubelet.node_name));
        let around = Around { facts: &facts, node: node.as_deref() };
        let kept = match &self.volumes.paths {
            Some(_) => kubelet.volumes.refresh(pod, around).await,
            None => match self.unless_unwanted(kubelet.volumes.set_up(pod, around)).await {
                Some(made) => made.map(|paths| self.volumes.paths = Some(paths)),
                None => return Ok(()),
            },
        };
        self.volumes.round = round;
        match kept {
            Ok(()) => {
                self.volumes.mounting = Tries::new();
                self.volumes.late = None;
            }
            Err(errors) => {
                for error in &errors {
                    kubelet.notes.pod(pod, Warning, "FailedMount", error.to_string());
                }
                // What is there, if not up to date, is good enough until the next round.
                if !self.volumes.are_there() {
                    self.volumes.failed(began, &errors);
                    let next = self.volumes.mounting.failed(self.now());
                    return Err(self.tell_late(pod, next));
                }
            }
        }
        Ok(())
    }

    /// Tells of volumes that were waited for too long; answers when to look again, the next try being at some time.
    fn tell_late(&mut self, pod: &Pod, next: Timestamp) -> Timestamp {
        let now = self.now();
        let Some(late) = &mut self.volumes.late else { return next };
        if late.since + LONGEST_WAIT <= now {
            late.since = now;
            let error = VolumeError::Late { volumes: late.volumes.iter().cloned().collect() };
            self.kubelet.notes.pod(pod, Warning, "FailedMount", error.to_string());
        }
        next.min(late.since + LONGEST_WAIT)
    }

    /// Takes the pod's volumes away, when nothing of it runs any more; on failure tells why and answers when to try
    /// again.
    pub(super) async fn drop_volumes(&mut self, pod: &Pod) -> Result<(), Timestamp> {
        self.volumes.unmounting.wait_over(self.now())?;
        self.volumes.forget();
        let Err(error) = self.kubelet.volumes.tear_down(&self.subject.uid).await else { return Ok(()) };
        self.kubelet.notes.pod(pod, Warning, "FailedUnMount", error.to_string());
        Err(self.volumes.stay(self.now()))
    }

    /// Reads the files of volumes that a container's environment draws on, as far as they can be read.
    pub(super) async fn env_files(&self, container: &Container) -> Result<env::Files, Message> {
        let mut files = env::Files::new();
        for (volume, path) in env::files(container) {
            let at = self.volumes.paths.as_ref().and_then(|paths| paths.get(&volume));
            let missing = || message!("cannot find the volume {volume:?} referenced by FileKeyRef");
            let (at, inside) = (at.ok_or_else(missing)?.path.clone(), path.clone());
            match beneath::blocking(move || text(Handle::open(&at)?.read(inside)?)).await {
                Ok(text) => drop(files.insert((volume, path), text)),
                Err(error) => tracing::warn!(volume, path, %error, "Cannot read a file of variables"),
            }
        }
        Ok(files)
    }

    /// Prepares all that is mounted into a container, and the folder of its log; on refusal says why.
    pub(super) async fn mounts(
        &self,
        pod: &Arc<Pod>,
        container: &Container,
        attempt: u32,
        env: &Environment,
        recursive_read_only: bool,
        pod_ips: &[String],
    ) -> Result<Vec<Mount>, Message> {
        let kubelet = Arc::clone(&self.kubelet);
        let volumes = self.volumes.paths.clone().unwrap_or_default();
        let (pod, container, env, pod_ips) =
            (Arc::clone(pod), container.clone(), env.clone(), pod_ips.to_vec());
        let prepared = beneath::blocking(move || {
            let places = &kubelet.places;
            let uid = pod_spec::uid(&pod);
            let prepare = |index: usize, mount: &VolumeMount, volume: &VolumePath, sub: &str| {
                let target = names::sub_path(&places.root, uid, &mount.name, &container.name, index);
                sub_path::mount(&volume.path, Path::new(sub), &target).map_err(|error| {
                    // Words about what lies outside of the volume are not for the pod.
                    tracing::warn!(pod = pod_spec::described(&pod), sub, %error, "Cannot prepare a subPath");
                    let (name, container) = (&mount.name, &container.name);
                    format!("failed to prepare subPath for volumeMount {name:?} of container {container:?}")
                })?;
                Ok(target)
            };
            let volumes = container::mounts(&container, &volumes, &env, recursive_read_only, prepare);
            let mut mounts = match volumes {
                Ok(mounts) => mounts,
                Err(refusal) => return Ok(Err(refusal)),
            };
            let logs = names::log_dir(&places.logs, &pod);
            let (logs, name) = (logs.strip_prefix(&places.logs).unwrap_or(&logs), &container.name);
            Handle::open(&places.logs)?.make_dirs(logs.join(name), 0o755)?;
            let dir = names::pod_dir(&places.root, uid);
            make_private(&dir)?;
            if !mounts.iter().any(|mount| mount.container_path.trim_end_matches('/') == HOSTS) {
                let domain = names::domain(&pod, &places.cluster_domain);
                let path = hosts_file(&pod, &dir, domain.as_deref(), &pod_ips)?;
                mounts.push(mount(HOSTS, &path));
            }
            let words = container.termination_message_path.as_deref().unwrap_or("/dev/termination-log");
            if let Some(inside) = place_of_last_words(words, &mounts) {
                let dir = names::last_words_dir(&places.root, uid, name);
                mounts.push(mount(&inside, &file_for_last_words(&dir, attempt)?));
            }
            Ok(Ok(mounts))
        });
        prepared
            .await
            .map_err(|error| message!("cannot write the kubelet's files for the container: {error}"))?
    }
}

/// What is in a file, if an environment could hold it.
fn text(file: File) -> io::Result<String> {
    let mut bytes = Vec::new();
    if file.take(LARGEST as u64 + 1).read_to_end(&mut bytes)? > LARGEST {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn mount(inside: &str, outside: &Path) -> Mount {
    let host_path = outside.to_string_lossy().into_owned();
    Mount { container_path: inside.to_owned(), host_path, ..Mount::default() }
}

fn hosts_file(pod: &Pod, dir: &Path, domain: Option<&str>, pod_ips: &[String]) -> io::Result<PathBuf> {
    let node_hosts = if pod_spec::host_network(pod) {
        let hosts = std::fs::read_to_string(HOSTS).unwrap_or_default();
        let node = nix::unistd::gethostname()?.to_string_lossy().into_owned();
        let ip = pod_ips.first().map(String::as_str).unwrap_or_default();
        Some(dns::node_hosts(hosts, &node, ip))
    } else {
        None
    };
    let hostname = names::hostname(pod);
    let text = dns::hosts_file(pod, pod_ips, &hostname, domain, node_hosts.as_deref());
    let path = dir.join("etc-hosts");
    std::fs::write(&path, text)?;
    Ok(path)
}

/// Where a container finds the file for its last words. Over a volume's file there it is mounted, too: what is
/// in a volume is never read as somebody's last words. Over a volume's folder it cannot be.
fn place_of_last_words(path: &str, mounts: &[Mount]) -> Option<String> {
    if path.is_empty() {
        return None;
    }
    let path = absolute(path);
    let same = |mount: &&Mount| mount.container_path.trim_end_matches('/') == path.trim_end_matches('/');
    let folder = mounts.iter().find(same).is_some_and(|mount| {
        Handle::open(Path::new(&mount.host_path))
            .and_then(|held| held.metadata())
            .is_ok_and(|metadata| metadata.is_dir())
    });
    (!folder).then_some(path)
}

/// Makes the empty file that a container's last words are read from.
fn file_for_last_words(dir: &Path, attempt: u32) -> io::Result<PathBuf> {
    std::fs::create_dir_all(dir)?;
    let (held, name) = (Handle::open(dir)?, attempt.to_string());
    held.unlink(&name)?;
    // Whoever the program runs as may leave its last words.
    held.create(&name, 0o666)?;
    Ok(dir.join(name))
}

#[cfg(test)]
mod tests;
