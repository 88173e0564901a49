use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::frame::Action;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// Claims and volumes as an API server would hold them, and what was told. Only the first write of each plan is done:
/// all that follows has to be found again, as after a crash.
#[derive(Default)]
struct World {
    volumes: BTreeMap<String, Value>,
    claims: BTreeMap<String, Value>,
    classes: BTreeMap<String, Arc<StorageClass>>,
    told: Vec<String>,
}

impl World {
    fn volume(mut self, name: &str, more: Value) -> Self {
        let mut volume = json!({
            "metadata": {"name": name, "uid": format!("uid-{name}"), "resourceVersion": "1"},
            "spec": {
                "capacity": {"storage": "5Gi"}, "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": "/x"},
            },
            "status": {"phase": "Pending"},
        });
        json_patch::merge(&mut volume, &more);
        self.volumes.insert(name.to_owned(), volume);
        self
    }

    fn claim(mut self, name: &str, more: Value) -> Self {
        let mut claim = json!({
            "metadata": {"name": name, "namespace": "n", "uid": format!("uid-{name}"), "resourceVersion": "1"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
            "status": {"phase": "Pending"},
        });
        json_patch::merge(&mut claim, &more);
        self.claims.insert(name.to_owned(), claim);
        self
    }

    fn class(mut self, name: &str, more: Value) -> Self {
        let mut class = json!({"metadata": {"name": name}, "provisioner": "example.com/p"});
        json_patch::merge(&mut class, &more);
        self.classes.insert(name.to_owned(), Arc::new(serde_json::from_value(class).expect("a class")));
        self
    }

    fn typed<K: serde::de::DeserializeOwned>(value: &Value) -> Arc<K> {
        Arc::new(serde_json::from_value(value.clone()).expect("an object"))
    }

    fn claim_view(&self, name: &str) -> claim::View {
        let claim: Arc<PersistentVolumeClaim> = Self::typed(&self.claims[name]);
        let mut index = VolumeIndex::default();
        self.volumes.values().for_each(|volume| index.insert(&Self::typed(volume)));
        let class = self.classes.get(class_of_claim(&claim)).cloned();
        let waits = class.as_deref().is_some_and(waits_for_consumer);
        let volume = match volume_name(&claim) {
            Some(name) => self.volumes.get(name).map(Self::typed),
            None if claim::is_complete(&claim) => None,
            None => index.find(&claim, Seeker::Binder { waits }),
        };
        let classes: Vec<_> = self.classes.values().cloned().collect();
        let default_class = class_asked(&claim).is_none().then(|| default_class(&classes)).flatten();
        claim::View { volume, class, default_class, ..claim::View::of(&claim) }
    }

    fn volume_view(&self, name: &str) -> volume::View {
        let volume: Arc<PersistentVolume> = Self::typed(&self.volumes[name]);
        let claim = claim_ref(&volume).and_then(|claim| self.claims.get(claim.name.as_deref()?));
        let claim = claim.map(Self::typed);
        volume::View { claim, ..volume::View::of(&volume) }
    }

    /// Carries out the first write, and what is told; says whether there was one.
    fn first(&mut self, actions: Vec<Action>) -> bool {
        let mut wrote = false;
        for action in actions {
            match action {
                Action::Patch { .. } if wrote => {}
                Action::Patch { kind, name, body, .. } => {
                    let kept =
                        if kind.kind == "PersistentVolume" { &mut self.volumes } else { &mut self.claims };
                    let object = kept.get_mut(&name).expect("it is there");
                    assert_eq!(object["metadata"]["resourceVersion"], body["metadata"]["resourceVersion"]);
                    json_patch::merge(object, &body);
                    let version: u64 = object["metadata"]["resourceVersion"]
                        .as_str()
                        .expect("text")
                        .parse()
                        .expect("a number");
                    object["metadata"]["resourceVersion"] = json!((version + 1).to_string());
                    wrote = true;
                }
                Action::Tell { reason, message, .. } => self.told.push(format!("{reason}: {message}")),
                Action::CatchUp { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        wrote
    }

    /// Looks at everything until nothing is left to do.
    fn settle(mut self) -> Self {
        for _ in 0..50 {
            let mut wrote = false;
            for name in self.volumes.keys().cloned().collect::<Vec<_>>() {
                let view = self.volume_view(&name);
                let plan = volume::plan(&view, NOW).actions;
                wrote |= self.first(plan) || self.first(volume::report(&view));
            }
            for name in self.claims.keys().cloned().collect::<Vec<_>>() {
                let view = self.claim_view(&name);
                let plan = claim::plan(&view).actions;
                wrote |= self.first(plan) || self.first(claim::report(&self.claim_view(&name)));
            }
            if !wrote {
                self.told.sort();
                self.told.dedup();
                return self;
            }
        }
        panic!("it never settles: {:?} {:?}", self.volumes, self.claims);
    }

    /// `claim: phase volume` and `volume: phase claim`.
    fn seen(&self) -> Vec<String> {
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let claims = self.claims.iter().map(|(name, claim)| {
            format!("{name}: {} {}", text(&claim["status"]["phase"]), text(&claim["spec"]["volumeName"]))
        });
        let volumes = self.volumes.iter().map(|(name, volume)| {
            let claim = text(&volume["spec"]["claimRef"]["name"]);
            format!("{name}: {} {claim}", text(&volume["status"]["phase"]))
        });
        claims.chain(volumes).collect()
    }
}

fn kept_for(claim: &str, uid: Option<&str>) -> Value {
    json!({"spec": {"claimRef": {"name": claim, "namespace": "n", "uid": uid}}})
}

fn chosen(volume: &str) -> Value {
    json!({"spec": {"volumeName": volume}})
}

fn complete(volume: &str, phase: &str) -> Value {
    json!({
        "metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
        "spec": {"volumeName": volume},
        "status": {"phase": phase},
    })
}

#[test]
fn halves_find_each_other_whichever_write_was_the_last() {
    let elsewhere = json!({"metadata": {"annotations": {"pv.kubernetes.io/bound-by-controller": "yes"}}});
    let mut half_elsewhere = kept_for("c", Some("uid-c"));
    json_patch::merge(&mut half_elsewhere, &elsewhere);
    let cases: [(&str, World, &[&str]); 14] = [
        (
            "a claim and a volume",
            World::default().volume("v", json!({})).claim("c", json!({})),
            &["c: Bound v", "v: Bound c"],
        ),
        (
            "two claims, one volume",
            World::default().volume("v", json!({})).claim("c", json!({})).claim("d", json!({})),
            &["c: Bound v", "d: Pending -", "v: Bound c"],
        ),
        (
            "the volume is kept for the second",
            World::default().volume("v", kept_for("d", None)).claim("c", json!({})).claim("d", json!({})),
            &["c: Pending -", "d: Bound v", "v: Bound d"],
        ),
        (
            "the volume had a claim of this name",
            World::default().volume("v", kept_for("c", Some("earlier"))).claim("c", json!({})),
            &["c: Pending -", "v: Released c"],
        ),
        (
            "the claim names the volume",
            World::default().volume("u", json!({})).volume("v", json!({})).claim("c", chosen("v")),
            &["c: Bound v", "u: Available -", "v: Bound c"],
        ),
        (
            "the claim names no volume that there is",
            World::default().volume("u", json!({})).claim("c", chosen("v")),
            &["c: Pending v", "u: Available -"],
        ),
        (
            "both claims name the volume",
            World::default().volume("v", json!({})).claim("c", chosen("v")).claim("d", chosen("v")),
            &["c: Bound v", "d: Pending v", "v: Bound c"],
        ),
        (
            "too small",
            World::default()
                .volume("v", json!({"spec": {"capacity": {"storage": "1Mi"}}}))
                .claim("c", chosen("v")),
            &["c: Pending v", "v: Available -"],
        ),
        (
            "bound, and the volume came unbound",
            World::default().volume("v", json!({})).claim("c", complete("v", "Bound")),
            &["c: Bound v", "v: Bound c"],
        ),
        (
            "bound, and the volume is gone",
            World::default().claim("c", complete("v", "Bound")),
            &["c: Lost v"],
        ),
        (
            "bound, and the volume is another's",
            World::default()
                .volume("v", kept_for("d", Some("uid-d")))
                .claim("c", complete("v", "Bound"))
                .claim("d", complete("v", "Bound")),
            &["c: Lost v", "d: Bound v", "v: Bound d"],
        ),
        (
            "two volumes were taken for one claim",
            World::default()
                .volume("u", half_elsewhere.clone())
                .volume("v", kept_for("c", Some("uid-c")))
                .claim("c", complete("v", "Pending")),
            &["c: Bound v", "u: Available -", "v: Bound c"],
        ),
        ("the claim is gone", World::default().volume("v", kept_for("c", Some("uid-c"))), &["v: Released c"]),
        (
            "another mode than the volume that is kept for it",
            World::default()
                .volume("v", kept_for("c", Some("uid-c")))
                .claim("c", json!({"spec": {"volumeMode": "Block"}})),
            &["c: Pending -", "v: Pending c"],
        ),
    ];
    for (what, world, expected) in cases {
        assert_eq!(world.settle().seen(), expected, "{what}");
    }
}

#[test]
fn a_binding_is_written_on_both_sides() {
    let attributes = json!({"spec": {"volumeAttributesClassName": "gold"}});
    let world = World::default().volume("v", attributes.clone()).claim("c", attributes).settle();
    let (volume, claim) = (&world.volumes["v"], &world.claims["c"]);
    let yes = "yes";
    assert_eq!(volume["metadata"]["annotations"], json!({"pv.kubernetes.io/bound-by-controller": yes}));
    let both = json!({"pv.kubernetes.io/bound-by-controller": yes, "pv.kubernetes.io/bind-completed": yes});
    assert_eq!(claim["metadata"]["annotations"], both);
    assert_eq!(volume["spec"]["claimRef"]["uid"], "uid-c");
    let status = json!({
        "phase": "Bound", "capacity": {"storage": "5Gi"}, "accessModes": ["ReadWriteOnce"],
        "currentVolumeAttributesClassName": "gold",
    });
    assert_eq!(claim["status"], status);
    // Who chose is remembered where the user did not.
    let world = World::default().volume("v", json!({})).claim("c", chosen("v")).settle();
    assert_eq!(world.claims["c"]["metadata"]["annotations"], json!({"pv.kubernetes.io/bind-completed": yes}));
}

#[test]
fn what_a_claim_waits_for_is_said() {
    let of_class = |class: &str| json!({"spec": {"storageClassName": class}});
    let waits = json!({"volumeBindingMode": "WaitForFirstConsumer"});
    let cases = [
        (
            World::default().claim("c", json!({})),
            "FailedBinding: no persistent volumes available for this claim and no storage class is set",
        ),
        (
            World::default().claim("c", of_class("none")),
            "ProvisioningFailed: storageclass.storage.k8s.io \"none\" not found",
        ),
        (
            World::default().class("slow", waits).claim("c", of_class("slow")),
            "WaitForFirstConsumer: waiting for first consumer to be created before binding",
        ),
        (
            World::default().class("p", json!({})).claim("c", of_class("p")),
            "ExternalProvisioning: Waiting for a volume to be created either by the external provisioner 'example.com/p' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.",
        ),
        (
            World::default()
                .class("old", json!({"provisioner": "kubernetes.io/old"}))
                .claim("c", of_class("old")),
            "ProvisioningFailed: no volume plugin matched name: kubernetes.io/old",
        ),
        (
            World::default()
                .volume("v", json!({"spec": {"capacity": {"storage": "1Mi"}}}))
                .claim("c", chosen("v")),
            "VolumeMismatch: Cannot bind to requested volume \"v\": requested PV is too small",
        ),
        (
            World::default().volume("v", kept_for("d", None)).claim("c", chosen("v")),
            "FailedBinding: volume \"v\" already bound to a different claim.",
        ),
        (
            World::default().claim("c", complete("v", "Bound")),
            "ClaimLost: Bound claim has lost its PersistentVolume. Data on the volume is lost!",
        ),
    ];
    for (world, expected) in cases {
        assert_eq!(world.settle().told, [expected]);
    }
    let pods = |names: &[&str]| {
        let world = World::default().class("slow", json!({"volumeBindingMode": "WaitForFirstConsumer"}));
        let world = world.claim("c", of_class("slow"));
        let consumers = names.iter().map(|name| (*name).to_owned()).collect();
        let plan = claim::plan(&claim::View { consumers, ..world.claim_view("c") });
        match &plan.actions[..] {
            [Action::Tell { reason, message, .. }] => format!("{reason}: {message}"),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(pods(&["a"]), "WaitForPodScheduled: waiting for pod a to be scheduled");
    assert_eq!(pods(&["a", "b"]), "WaitForPodScheduled: waiting for pods a,b to be scheduled");
}

#[test]
fn a_class_that_became_the_default_is_given_to_claims_that_name_none() {
    let default =
        json!({"metadata": {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}});
    let named = |claim: Value| World::default().class("std", default.clone()).claim("c", claim).settle();
    assert_eq!(named(json!({})).claims["c"]["spec"]["storageClassName"], "std");
    let none = json!({"spec": {"storageClassName": ""}});
    assert_eq!(named(none).claims["c"]["spec"]["storageClassName"], "");
}

#[test]
fn a_provisioner_is_told_whom_to_serve() {
    let world = World::default().class("p", json!({}));
    let world = world.claim("c", json!({"spec": {"storageClassName": "p"}})).settle();
    let both = json!({
        "volume.kubernetes.io/storage-provisioner": "example.com/p",
        "volume.beta.kubernetes.io/storage-provisioner": "example.com/p",
    });
    assert_eq!(world.claims["c"]["metadata"]["annotations"], both);
}

#[test]
fn a_volume_that_becomes_free_wakes_the_largest_claim_that_fits() {
    let world = World::default()
        .claim("small", json!({}))
        .claim("large", json!({"spec": {"resources": {"requests": {"storage": "4Gi"}}}}))
        .claim("huge", json!({"spec": {"resources": {"requests": {"storage": "9Gi"}}}}));
    let mut waiting = Waiting::default();
    world.claims.values().for_each(|claim| waiting.insert(&World::typed(claim)));
    let world = world.volume("v", json!({"status": {"phase": "Available"}}));
    let volume: Arc<PersistentVolume> = World::typed(&world.volumes["v"]);
    let mut next = || waiting.take_for(&volume).map(|key| key.name.to_string());
    assert_eq!([next(), next(), next()], [Some("large".to_owned()), Some("small".to_owned()), None]);
}
