//! `POST …/pods/<name>/binding`: puts a pod on a node.

use api::{conditions, object::ObjectExt as _, status::Status};
use bytes::Bytes;
use http::Response;
use kinds::kind::Part;
use serde_json::{Value, json};

use super::{
    Tracking, created,
    update::{self, Expected, Seen, Terms},
};
use crate::{admission::Operation, body, context::Ctx, resources::PODS, response::Body, stamp::now};

/// Puts a pod on a node, once. The binding may also be posted to the namespace, as an object of its own.
///
/// # Errors
/// 409 when the pod has a node or is being deleted, 500 for a binding without a target.
pub async fn bind(ctx: Ctx, bytes: Bytes) -> Result<Response<Body>, Status> {
    let mut binding = body::parse_kind(&ctx.media, &bytes, &["v1"], "Binding")?;
    ctx.trail.was_sent(&binding);
    let name = ctx.path.name.clone().unwrap_or_else(|| binding.name().to_owned());
    ctx.api.admission.mutate(&mut Operation::create(&ctx, &name, &mut binding)).await?;
    check(&binding)?;
    ctx.api.admission.validate(&Operation::create(&ctx, &name, &mut binding)).await?;
    let mut ctx = if PODS.is(&ctx.kind) { ctx } else { ctx.of(PODS)? };
    ctx.path.name = Some(name.clone());
    let node = binding.str_at(&["target", "name"]);
    let conflict = |why: String| Status::conflict("pods/binding", "", &name, why);
    let expected = Expected::of(&binding)?;
    let marks = |field: &str| binding.metadata().and_then(|m| m.get(field)).and_then(Value::as_object);
    let marks = ["annotations", "labels"].map(|field| (field, marks(field)));
    let terms = Terms { seen: Seen::Admitted, ..Terms::of(Part::Other("binding"), expected, Tracking::Done) };
    update::write_on(&ctx, terms, |pod| {
        if pod.is_deleting() {
            return Err(conflict(format!("pod {name} is being deleted, cannot be assigned to a host")));
        }
        let present = pod.str_at(&["spec", "nodeName"]);
        if !present.is_empty() {
            return Err(conflict(format!("pod {name} is already assigned to node {present:?}")));
        }
        if pod.at(&["spec", "schedulingGates"]).and_then(Value::as_array).is_some_and(|g| !g.is_empty()) {
            return Err(conflict(format!("pod {name} has non-empty .spec.schedulingGates")));
        }
        let mut pod = pod.clone();
        pod["spec"]["nodeName"] = node.into();
        for (field, marks) in marks {
            for (key, value) in marks.into_iter().flatten() {
                let all = pod.metadata_mut().entry(field).or_insert_with(|| json!({}));
                all[key] = value.clone();
            }
        }
        if let Some(status) = pod.get_mut("status").and_then(Value::as_object_mut) {
            status.remove("nominatedNodeName");
        }
        let scheduled = json!({
            "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now(),
        });
        conditions::set_in(&mut pod, scheduled);
        Ok(pod)
    })
    .await?;
    Ok(created())
}

/// What is wrong with a binding.
fn check(binding: &Value) -> Result<(), Status> {
    let (node, kind) = (binding.str_at(&["target", "name"]), binding.str_at(&["target", "kind"]));
    let mut errors = api::field::Errors::default();
    if !kind.is_empty() && kind != "Node" {
        errors.not_supported(&api::field::Path::new("target.kind"), kind, &["Node", "<empty>"]);
    }
    if node.is_empty() {
        errors.required(&api::field::Path::new("target.name"), "");
    }
    // Upstream does not make a Status of these itself.
    errors.iter().next().map_or(Ok(()), |error| Err(Status::failure(500, "", error.to_string())))
}
