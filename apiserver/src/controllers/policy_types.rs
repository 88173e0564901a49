//! Says of each ValidatingAdmissionPolicy what is wrong with its expressions on the kinds that it names
//! (`status.typeChecking`).
//!
//! Upstream does this in `validatingadmissionpolicystatus` of the controller manager, which would have to fetch every
//! schema; here they are at hand.

use std::sync::Arc;

use api::{
    object::{ObjectExt as _, named},
    status::Status,
};
use cel::Decl;
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use kinds::{
    builtin::admission_registration::{matched_resources, type_warnings},
    kind::Kind,
};
use serde_json::{Value, json};

use super::{Left, statuses::tell};
use crate::{
    Api,
    registry::Table,
    resources::{BuiltIn, CUSTOM_RESOURCE_DEFINITIONS, VALIDATING_ADMISSION_POLICIES},
};

/// What is looked at.
pub const FOLLOWED: [BuiltIn; 2] = [VALIDATING_ADMISSION_POLICIES, CUSTOM_RESOURCE_DEFINITIONS];

/// Sets the status of all policies.
pub async fn look(api: Arc<Api>) -> Result<Left, Status> {
    let table = api.table();
    let manager = "validatingadmissionpolicy-status";
    tell(&api, VALIDATING_ADMISSION_POLICIES, manager, |policy| told(policy, &table)).await?;
    Ok(Left::Nothing)
}

/// The policy with its status.
fn told(policy: &Value, table: &Table) -> Value {
    let mut told = policy.clone();
    let Ok(typed) = serde_json::from_value::<ValidatingAdmissionPolicy>(policy.clone()) else { return told };
    let Some(spec) = typed.spec else { return told };
    let kinds: Vec<(String, Arc<Decl>)> = matched_resources(&spec)
        .iter()
        .filter_map(|(group, version, plural)| described(table.find(group, version, plural)?))
        .collect();
    let params = spec.param_kind.as_ref().and_then(|params| {
        let found = table.named(params.api_version.as_deref()?, params.kind.as_deref()?)?;
        described(found).map(|(_, decl)| decl)
    });
    let warnings = type_warnings(&spec, &kinds, params.as_ref());
    let checked = if warnings.is_empty() { json!({}) } else { json!({"expressionWarnings": warnings}) };
    told["status"]["observedGeneration"] = policy.generation().into();
    told["status"]["typeChecking"] = checked;
    told
}

/// A kind's name as Go prints it, and the type of its objects.
fn described(kind: &Arc<Kind>) -> Option<(String, Arc<Decl>)> {
    let (types, root) = kind.object_type()?;
    let name = named(&json!({"apiVersion": kind.api_version(), "kind": kind.kind}));
    Some((name, types.declared(root)))
}
