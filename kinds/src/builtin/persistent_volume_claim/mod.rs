//! PersistentVolumeClaim: a wish for storage.

use std::collections::BTreeMap;

use api::{
    quantity::Quantity,
    resource_names::is_native,
    volume_binding::{BETA_CLASS, annotation},
};
use k8s_openapi::{
    api::core::v1::{
        PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeClaimStatus,
        VolumeResourceRequirements,
    },
    apimachinery::pkg::{api::resource::Quantity as Wire, apis::meta::v1::LabelSelector},
};
use serde::Serialize;

use crate::builtin::difference::{line_diff, shown};
use crate::builtin::{pod::warnings::fraction, prelude::*};

mod data_source;

/// The defaults of a claim, on its own and in a StatefulSet.
pub fn fill(claim: &mut PersistentVolumeClaim) {
    fill_spec(claim.spec.get_or_insert_default());
    set_text(&mut claim.status.get_or_insert_default().phase, "Pending");
}

/// The defaults of a claim's spec, on its own and inside an ephemeral volume.
pub fn fill_spec(spec: &mut PersistentVolumeClaimSpec) {
    set(&mut spec.volume_mode, "Filesystem");
    absent_when_zero(&mut spec.volume_name);
    let resources = spec.resources.get_or_insert_default();
    canonical_list(&mut resources.limits);
    canonical_list(&mut resources.requests);
    absent_when_zero(&mut spec.access_modes);
}

/// What is to be said of a claim's spec that stands at `at`.
pub fn spec_warnings(spec: &PersistentVolumeClaimSpec, at: &Path) -> Vec<String> {
    let Some(resources) = &spec.resources else { return Vec::new() };
    let at = at.child("resources");
    let lists = [("requests", &resources.requests), ("limits", &resources.limits)];
    let fractions = lists.map(|(field, list)| fraction(list.as_ref(), "storage", &at.child(field)));
    fractions.into_iter().flatten().collect()
}

/// `RWO,ROX` for a list of access modes.
pub fn access_modes(modes: &[Value]) -> String {
    let all = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let has = |mode: &str| modes.iter().any(|m| m.as_str() == Some(mode));
    all.iter().filter(|(mode, _)| has(mode)).map(|(_, short)| *short).collect::<Vec<_>>().join(",")
}

/// What is to be said of a class in an annotation.
pub fn beta_class_warning() -> String {
    let at = Path::new("metadata.annotations").key(BETA_CLASS);
    format!("{at}: deprecated since v1.8; use \"storageClassName\" attribute instead")
}

/// A spec as upstream shows one that changed: every field, in its order there.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown<'a> {
    access_modes: &'a Option<Vec<String>>,
    selector: &'a Option<LabelSelector>,
    resources: ShownResources<'a>,
    volume_name: &'a str,
    storage_class_name: &'a Option<String>,
    volume_mode: &'a Option<String>,
    data_source: Option<Value>,
    data_source_ref: Option<Value>,
    volume_attributes_class_name: &'a Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShownResources<'a> {
    limits: Option<&'a BTreeMap<String, Wire>>,
    requests: Option<&'a BTreeMap<String, Wire>>,
}

impl<'a> From<&'a PersistentVolumeClaimSpec> for Shown<'a> {
    fn from(spec: &'a PersistentVolumeClaimSpec) -> Self {
        let resources = spec.resources.as_ref();
        Self {
            access_modes: &spec.access_modes,
            selector: &spec.selector,
            resources: ShownResources {
                limits: resources.and_then(|r| r.limits.as_ref()),
                requests: resources.and_then(|r| r.requests.as_ref()),
            },
            volume_name: spec.volume_name.as_deref().unwrap_or_default(),
            storage_class_name: &spec.storage_class_name,
            volume_mode: &spec.volume_mode,
            data_source: spec.data_source.as_ref().and_then(|d| serde_json::to_value(d).ok()),
            data_source_ref: spec.data_source_ref.as_ref().and_then(|d| serde_json::to_value(d).ok()),
            volume_attributes_class_name: &spec.volume_attributes_class_name,
        }
    }
}

impl Strategy for PersistentVolumeClaim {
    fn fill_in(&mut self) {
        fill(self);
    }

    fn prepare_create(claim: &mut Draft<Self>) {
        claim.status = None;
        set_text(&mut claim.status.get_or_insert_default().phase, "Pending");
        if let Some(spec) = &mut claim.spec {
            data_source::pair(spec, None);
        }
    }

    fn prepare_update(new: &mut Draft<Self>, old: &Draft<Self>, part: Part<'_>) {
        if part == Part::Main
            && let Some(spec) = &mut new.spec
        {
            data_source::pair(spec, old.spec.as_ref());
        }
    }

    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        let noted = annotation(&self.metadata, BETA_CLASS).map(|_| beta_class_warning());
        let spec = self.spec.as_ref().map(|spec| spec_warnings(spec, &Path::new("spec")));
        noted.into_iter().chain(spec.into_iter().flatten()).collect()
    }

    fn validate(&self, errors: &mut Errors) {
        if let Some(spec) = &self.spec {
            claim_spec(spec, &Path::new("spec"), errors);
        }
    }

    fn validate_update(&self, old: &Self, part: Part<'_>, errors: &mut Errors) {
        if part == Part::Status {
            if let Some(status) = &self.status {
                validate_status(status, errors);
            }
            return;
        }
        self.validate(errors);
        let class =
            |claim: &PersistentVolumeClaim| annotation(&claim.metadata, BETA_CLASS).map(str::to_owned);
        let (named, had) = (class(self), class(old));
        let (Some(new), Some(was)) = (&self.spec, &old.spec) else { return };
        let status = old.status.clone().unwrap_or_default();
        let mut rest = new.clone();
        if was.volume_name.is_none() {
            rest.volume_name = None;
        }
        // Whoever named no class may be given one, and who named it in the annotation may move it into the field.
        let chosen = was.storage_class_name.is_none() && new.storage_class_name.is_some();
        if chosen && had.as_ref().is_none_or(|had| new.storage_class_name.as_ref() == Some(had)) {
            rest.storage_class_name = None;
        }
        let moved = chosen && had.is_some() && new.storage_class_name == had && named.is_none();
        if !moved {
            let at = Path::new("metadata.annotations").child(BETA_CLASS);
            immutable(&named.unwrap_or_default(), &had.unwrap_or_default(), &at, errors);
        }
        if status.phase.as_deref() == Some("Bound") {
            rest.volume_attributes_class_name.clone_from(&was.volume_attributes_class_name);
            let requests = rest.resources.as_mut().and_then(|resources| resources.requests.as_mut());
            let had =
                was.resources.as_ref().and_then(|resources| resources.requests.as_ref()?.get("storage"));
            if let (Some(requests), Some(had)) = (requests, had) {
                requests.insert("storage".to_owned(), had.clone());
            }
        }
        if rest != *was {
            let why = format!(
                "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n{}",
                line_diff(&shown(&Shown::from(was)), &shown(&Shown::from(&rest)))
            );
            errors.forbidden(&Path::new("spec"), &why);
        }
        let size = |resources: Option<&VolumeResourceRequirements>| {
            let size = resources.and_then(|r| r.requests.as_ref()?.get("storage")).map(Quantity::of);
            size.unwrap_or_default()
        };
        let capacity = status.capacity.as_ref().and_then(|all| all.get("storage")).map(Quantity::of);
        let now = size(new.resources.as_ref());
        if now < size(was.resources.as_ref()) && now <= capacity.unwrap_or_default() {
            let at = Path::new("spec.resources.requests.storage");
            errors.forbidden(&at, "field can not be less than status.capacity");
        }
        immutable(&new.volume_mode, &was.volume_mode, &Path::new("volumeMode"), errors);
        if status.current_volume_attributes_class_name.is_some() {
            let at = Path::new("spec.volumeAttributesClassName");
            let to = match new.volume_attributes_class_name.as_deref() {
                None => "nil",
                Some("") => "empty string",
                Some(_) => return,
            };
            let why = format!(
                "update to {to} is forbidden when status.currentVolumeAttributesClassName is not nil"
            );
            if new.volume_attributes_class_name != was.volume_attributes_class_name {
                errors.forbidden(&at, why);
            }
        }
    }

    fn columns() -> Vec<Column> {
        fn of_volume(claim: &Value, cell: impl Fn(&Value) -> Value) -> Value {
            if claim.str_at(&["spec", "volumeName"]).is_empty() { "".into() } else { cell(claim) }
        }
        vec![
            Column::name(),
            Column::text("Status", "Whether the claim has its volume.", cells::phase),
            Column::field("Volume", "The volume that the claim has.", &["spec", "volumeName"]),
            Column::text("Capacity", "What the volume holds.", |claim| {
                of_volume(claim, |claim| claim.str_at(&["status", "capacity", "storage"]).into())
            }),
            Column::text("Access Modes", "How the volume may be mounted.", |claim| {
                of_volume(claim, |claim| access_modes(claim.list_at(&["status", "accessModes"])).into())
            }),
            Column::field("StorageClass", "The class the volume must be of.", &["spec", "storageClassName"]),
            Column::text("VolumeAttributesClass", "The class of attributes the volume must have.", |claim| {
                text_or(claim, &["spec", "volumeAttributesClassName"], "<unset>")
            }),
            Column::age(),
            cells::volume_mode_column(),
        ]
    }
}

/// What the claim has, and how far its growing is.
fn validate_status(status: &PersistentVolumeClaimStatus, errors: &mut Errors) {
    const GROWING: &[&str] = &[
        "ControllerResizeInProgress",
        "ControllerResizeInfeasible",
        "NodeResizeInProgress",
        "NodeResizeInfeasible",
        "NodeResizePending",
    ];
    let at = Path::new("status");
    let amount = |name: &str, wire: &Wire, at: &Path, errors: &mut Errors| {
        let amount = Quantity::of(wire);
        if amount.is_negative() {
            errors.invalid(&at.key(name), amount.value(), "must be a valid resource quantity");
        }
    };
    for (name, wire) in status.capacity.iter().flatten() {
        amount(name, wire, &at.child("capacity"), errors);
    }
    let growing_at = at.child("allocatedResourceStatus");
    for (name, state) in status.allocated_resource_statuses.iter().flatten() {
        resource_key(name, &growing_at, errors);
        if !GROWING.contains(&state.as_str()) {
            errors.not_supported(&growing_at, name, GROWING);
        }
    }
    let at = at.child("allocatedResources");
    for (name, wire) in status.allocated_resources.iter().flatten() {
        if resource_key(name, &at, errors) {
            amount(name, wire, &at, errors);
        }
    }
}

/// A resource that a claim can have: storage, or one that somebody else brought. Whether it is.
fn resource_key(name: &str, at: &Path, errors: &mut Errors) -> bool {
    let wrong = qualified_name(name);
    let known = !is_native(name) || name == "storage";
    if wrong.is_empty() && !known {
        errors.not_supported(at, name, &["storage"]);
    }
    let sound = wrong.is_empty() && known;
    each(errors, at, name, wrong);
    sound
}

/// The spec of a claim, on its own and inside an ephemeral volume.
pub fn claim_spec(spec: &PersistentVolumeClaimSpec, at: &Path, errors: &mut Errors) {
    const MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
    let modes = spec.access_modes.as_deref().unwrap_or_default();
    if modes.is_empty() {
        errors.required(&at.child("accessModes"), "at least 1 access mode is required");
    }
    label_selector(spec.selector.as_ref(), &at.child("selector"), errors);
    for mode in modes.iter().filter(|m| !MODES.contains(&m.as_str())) {
        errors.not_supported(&at.child("accessModes"), mode, MODES);
    }
    if modes.len() > 1 && modes.iter().any(|m| m == "ReadWriteOncePod") {
        let why = "may not use ReadWriteOncePod with other access modes";
        errors.forbidden(&at.child("accessModes"), why);
    }
    let storage_at = at.child("resources").key("storage");
    match spec.resources.as_ref().and_then(|r| r.requests.as_ref()?.get("storage")).map(Quantity::of) {
        None => errors.required(&storage_at, ""),
        Some(size) if size <= Quantity::ZERO => {
            errors.invalid(&storage_at, size.to_string(), "must be greater than zero");
        }
        Some(_) => {}
    }
    if let Some(class) = spec.storage_class_name.as_ref().filter(|c| !c.is_empty()) {
        let wrong = dns_subdomain(class);
        each(errors, &at.child("storageClassName"), class, wrong);
    }
    one_of(spec.volume_mode.as_deref(), &["Block", "Filesystem"], &at.child("volumeMode"), errors);
    data_source::validate(spec, at, errors);
    if let Some(class) = spec.volume_attributes_class_name.as_ref().filter(|class| !class.is_empty()) {
        each(errors, &at.child("volumeAttributesClassName"), class, dns_subdomain(class));
    }
}

#[cfg(test)]
mod tests;
