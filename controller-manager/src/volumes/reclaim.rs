//! What becomes of a volume whose claim is gone: kept, emptied for the next, or deleted with its data. The data lie on
//! nodes, so a pod removes them there; it belongs to the volume and tells, by the claim that it follows, whether it is
//! of this return or of an earlier one. Each step can be seen in the objects, and doing one twice does no harm.
//! Upstream: the reclaiming half of `pv_controller.go`, and `recyclerclient`.

use api::{Message, message};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use api::volume_binding::{
    BOUND_BY_CONTROLLER, PROVISIONED_BY, annotation, claim_ref, has_annotation, size_of_volume,
};
use k8s_openapi::api::core::v1::{
    Affinity, Container, HostPathVolumeSource, NodeAffinity, PersistentVolume, PersistentVolumeStatus, Pod,
    PodSpec, Toleration, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{RESYNC, annotate, provision, status, strip, tell};
use crate::frame::{Action, Kind, Plan, Timestamp, Told, plus_seconds, reference};
use crate::kit::{owners, pods};

/// The annotation of a removing pod that names the claim (its uid) after which it cleans up.
const AFTER: &str = "skiff.local/after-claim";
/// The smallest time that removing may take, in seconds, and how much more for each GiB of the volume.
const SHORTEST: i64 = 60;
const FOR_EACH_GIB: i64 = 30;
/// Waiting for pods to be done with a volume.
const SOON: Duration = Duration::from_secs(2);

/// A released volume and what matters for its end.
pub struct Released<'a> {
    /// The volume.
    pub volume: &'a PersistentVolume,
    /// `namespace/name` of pods that still use it.
    pub users: &'a [String],
    /// The pod that removes its data.
    pub pod: Option<&'a Pod>,
    /// The image that such pods run.
    pub image: Option<&'a str>,
    /// Whether a node is left that holds its data.
    pub has_node: bool,
}

/// What is to be removed, seen from a node.
struct Data {
    /// What is mounted.
    mount: Volume,
    /// The entry of it that goes; everything in it without.
    entry: Option<String>,
}

/// Does what the volume's policy says.
pub fn plan(of: &Released<'_>, now: Timestamp) -> Plan {
    let policy = of.volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
    match policy {
        Some("Recycle") => recycle(of, now),
        Some("Delete") => delete(of, now),
        _ => Plan::default(),
    }
}

fn recycle(of: &Released<'_>, now: Timestamp) -> Plan {
    const FAILED: &str = "VolumeFailedRecycle";
    if !of.users.is_empty() {
        let message = format!("Volume is used by pods: {}", of.users.join(","));
        let actions = vec![tell(of.volume, false, FAILED, message)];
        return Plan { actions, requeue_after: Some(RESYNC) };
    }
    let Some(mount) = recyclable(of.volume) else {
        return failed(of, FAILED, "No recycler plugin found for the volume!".to_owned(), Plan::default());
    };
    let data = Data { mount, entry: None };
    match cleaned(of, data, "default", now) {
        Cleaned::Done(pod) => {
            let actions = [
                Some(Action::delete(pod, None)),
                Action::change(of.volume, &unbound(of.volume), None),
                Some(tell(of.volume, false, "VolumeRecycled", "Volume recycled")),
            ];
            Plan { actions: actions.into_iter().flatten().collect(), requeue_after: None }
        }
        Cleaned::Failed(why, then) => {
            failed(of, FAILED, format!("Recycle failed: failed to recycle volume: {why}"), then)
        }
        Cleaned::NotYet(plan) => plan,
    }
}

fn delete(of: &Released<'_>, now: Timestamp) -> Plan {
    const FAILED: &str = "VolumeFailedDelete";
    let data = match deletable(of.volume) {
        Ok(Some(data)) => data,
        // Whoever made it deletes it.
        Ok(None) => return Plan::default(),
        Err(why) => return failed(of, FAILED, why.into(), Plan::default()),
    };
    let gone = Plan { actions: gone(of.volume).into_iter().collect(), requeue_after: None };
    if !of.has_node {
        return gone;
    }
    if !of.users.is_empty() {
        return Plan { actions: Vec::new(), requeue_after: Some(SOON) };
    }
    match cleaned(of, data, "kube-system", now) {
        // The pod goes with the volume.
        Cleaned::Done(_) => gone,
        Cleaned::Failed(why, then) => failed(of, FAILED, why, then),
        Cleaned::NotYet(plan) => plan,
    }
}

/// Lets the volume itself go: asks for it, and once that is seen, holds it back no longer.
fn gone(volume: &PersistentVolume) -> Option<Action> {
    if volume.metadata.deletion_timestamp.is_none() {
        return Some(Action::delete(volume, None));
    }
    Action::change(volume, &without_finalizer(volume), None)
}

/// The volume with nothing that holds it back on behalf of its data.
pub fn without_finalizer(volume: &PersistentVolume) -> PersistentVolume {
    let mut freed = volume.clone();
    let kept = freed.metadata.finalizers.take().unwrap_or_default();
    let kept: Vec<String> = kept.into_iter().filter(|finalizer| finalizer != provision::FINALIZER).collect();
    freed.metadata.finalizers = Some(kept).filter(|kept| !kept.is_empty());
    freed
}

/// The volume free of its claim; one that a user kept for a claim stays kept for that name.
pub fn unbound(volume: &PersistentVolume) -> PersistentVolume {
    let mut freed = volume.clone();
    let spec = freed.spec.get_or_insert_default();
    if has_annotation(&volume.metadata, BOUND_BY_CONTROLLER) {
        spec.claim_ref = None;
        strip(&mut freed.metadata, BOUND_BY_CONTROLLER);
    } else if let Some(claim) = &mut spec.claim_ref {
        claim.uid = None;
        claim.resource_version = None;
    }
    freed
}

/// Says in the volume's status, and once in an event, that its end has failed; then goes on.
fn failed(of: &Released<'_>, reason: &'static str, why: String, then: Plan) -> Plan {
    let present = of.volume.status.as_ref();
    let mut actions = Vec::new();
    if present.and_then(|status| status.phase.as_deref()) != Some("Failed") {
        let phase = Some("Failed".to_owned());
        let new = PersistentVolumeStatus {
            phase,
            message: Some(why.clone()),
            ..present.cloned().unwrap_or_default()
        };
        actions.extend(status(of.volume, &of.volume.status, &new));
        actions.push(tell(of.volume, true, reason, why));
    }
    actions.extend(then.actions);
    Plan { actions, requeue_after: then.requeue_after }
}

/// What a recycler can empty.
fn recyclable(volume: &PersistentVolume) -> Option<Volume> {
    let spec = volume.spec.as_ref()?;
    let host_path = spec.host_path.clone().map(|host| HostPathVolumeSource { type_: None, ..host });
    if host_path.is_none() && spec.nfs.is_none() {
        return None;
    }
    Some(Volume { name: "vol".to_owned(), host_path, nfs: spec.nfs.clone(), ..Volume::default() })
}

/// What is deleted here; nothing when somebody else has to.
fn deletable(volume: &PersistentVolume) -> Result<Option<Data>, Message> {
    let Some(spec) = &volume.spec else { return Ok(None) };
    let maker = annotation(&volume.metadata, PROVISIONED_BY).unwrap_or_default();
    let path = match (&spec.local, &spec.host_path) {
        (Some(local), _) if provision::is_ours(volume) => &local.path,
        _ if spec.csi.is_some() || !maker.is_empty() => return Ok(None),
        // Something in /tmp, however the path is written, and not the folder itself.
        (_, Some(host))
            if !Path::new(&host.path)
                .strip_prefix("/tmp")
                .is_ok_and(|rest| rest.components().next().is_some()) =>
        {
            return Err(message!(
                "host_path deleter only supports /tmp/.+ but received provided {}",
                host.path
            ));
        }
        (_, Some(host)) => &host.path,
        _ => {
            let known =
                spec.local.is_some() || spec.nfs.is_some() || spec.iscsi.is_some() || spec.fc.is_some();
            let why = if known { "no deletable volume plugin matched" } else { "no volume plugin matched" };
            let name = owners::name(&volume.metadata);
            return Err(message!("error getting deleter volume plugin for volume {name:?}: {why}"));
        }
    };
    let (folder, entry) = (Path::new(path).parent(), Path::new(path).file_name());
    let (Some(folder), Some(entry)) = (folder, entry) else {
        return Err(message!("{path} is not a folder of its own"));
    };
    let (path, type_) = (folder.display().to_string(), Some("DirectoryOrCreate".to_owned()));
    let host_path = Some(HostPathVolumeSource { path, type_ });
    let mount = Volume { name: "vol".to_owned(), host_path, ..Volume::default() };
    Ok(Some(Data { mount, entry: Some(entry.to_string_lossy().into_owned()) }))
}

/// How far the pod is that removes the data.
enum Cleaned<'a> {
    /// All is gone.
    Done(&'a Pod),
    /// Why not; and what to do so as to try again.
    Failed(String, Plan),
    /// What to do meanwhile.
    NotYet(Plan),
}

fn cleaned<'a>(of: &Released<'a>, data: Data, namespace: &str, now: Timestamp) -> Cleaned<'a> {
    let after = claim_ref(of.volume).and_then(|claim| claim.uid.as_deref()).unwrap_or_default();
    let only = |action| Plan { actions: vec![action], requeue_after: None };
    let Some(pod) = of.pod else {
        let Some(image) = of.image else {
            let why = "the controller manager knows no image for it: --volume-helper-image is not given";
            return Cleaned::Failed(why.to_owned(), Plan::default());
        };
        let pod = remover(of.volume, data, namespace, after, image);
        let failed =
            ("RecyclerPod", "Recycler pod: unexpected error creating recycler pod: {error}".to_owned());
        let told = Told { about: reference(of.volume), done: None, failed: Some(failed) };
        return Cleaned::NotYet(only(Action::create_many(&pod, 1, Some(told))));
    };
    if pods::is_terminating(pod) {
        return Cleaned::NotYet(Plan::default());
    }
    if annotation(&pod.metadata, AFTER) != Some(after) {
        return Cleaned::NotYet(only(Action::delete(pod, None)));
    }
    match pods::phase(pod) {
        "Succeeded" => Cleaned::Done(pod),
        "Failed" => {
            let message = pod.status.as_ref().and_then(|status| status.message.clone());
            let why = message.unwrap_or_else(|| "pod failed, pod.Status.Message unknown".to_owned());
            // The next does not follow at once.
            let made = pod.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
            let until = plus_seconds(made, RESYNC.as_secs().try_into().unwrap_or(i64::MAX));
            let mut then = Plan::default();
            if until <= now {
                then.actions.push(Action::delete(pod, None));
            } else {
                then.look_again_at(until, now);
            }
            Cleaned::Failed(why, then)
        }
        _ => Cleaned::NotYet(Plan::default()),
    }
}

/// The pod that removes data where they lie.
fn remover(volume: &PersistentVolume, data: Data, namespace: &str, after: &str, image: &str) -> Pod {
    let gib = size_of_volume(volume).value() >> 30;
    let affinity = volume.spec.as_ref().and_then(|spec| spec.node_affinity.as_ref()?.required.clone());
    let affinity = affinity.map(|required| NodeAffinity {
        required_during_scheduling_ignored_during_execution: Some(required),
        ..NodeAffinity::default()
    });
    let mut metadata = ObjectMeta {
        name: Some(format!("recycler-for-{}", owners::name(&volume.metadata))),
        namespace: Some(namespace.to_owned()),
        labels: Some(BTreeMap::from([("app.kubernetes.io/name".to_owned(), "pv-recycler".to_owned())])),
        owner_references: Some(vec![owners::controller_ref(
            &Kind::of::<PersistentVolume>(),
            &volume.metadata,
        )]),
        ..ObjectMeta::default()
    };
    annotate(&mut metadata, AFTER, after);
    let command = ["/pause", "scrub", "/scrub"].map(str::to_owned).into_iter().chain(data.entry);
    let mount = VolumeMount {
        name: data.mount.name.clone(),
        mount_path: "/scrub".to_owned(),
        ..VolumeMount::default()
    };
    let container = Container {
        name: "pv-recycler".to_owned(),
        image: Some(image.to_owned()),
        command: Some(command.collect()),
        volume_mounts: Some(vec![mount]),
        ..Container::default()
    };
    let everywhere = Toleration { operator: Some("Exists".to_owned()), ..Toleration::default() };
    let spec = PodSpec {
        active_deadline_seconds: Some(SHORTEST.max(gib.saturating_mul(FOR_EACH_GIB))),
        restart_policy: Some("Never".to_owned()),
        automount_service_account_token: Some(false),
        affinity: affinity.map(|node| Affinity { node_affinity: Some(node), ..Affinity::default() }),
        tolerations: Some(vec![everywhere]),
        containers: vec![container],
        volumes: Some(vec![data.mount]),
        ..PodSpec::default()
    };
    Pod { metadata, spec: Some(spec), status: None }
}

/// Who removes the data of a volume.
pub fn volume_of(pod: &Arc<Pod>) -> Option<&str> {
    let owner = owners::controller_of(&pod.metadata)?;
    (owner.kind == "PersistentVolume").then_some(&*owner.name)
}

#[cfg(test)]
mod tests;
