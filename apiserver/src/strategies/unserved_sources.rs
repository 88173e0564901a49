//! What becomes of volumes of bundles where ClusterTrustBundles are not served, in pods and in what pods are made from.

use api::object::ObjectExt as _;
use serde_json::Value;

use crate::{context::Ctx, resources::CLUSTER_TRUST_BUNDLES};

/// Where the pods' volumes of built-in kinds are.
const VOLUMES: [&str; 4] = [
    "/spec/volumes",
    "/spec/template/spec/volumes",
    "/spec/jobTemplate/spec/template/spec/volumes",
    "/template/spec/volumes",
];

/// Takes volumes of bundles away where bundles are not served, without a word, as upstream does, unless there were some.
pub fn drop_from(ctx: &Ctx, new: &mut Value, old: Option<&Value>) {
    let used = |object: &Value| VOLUMES.iter().any(|at| object.pointer(at).is_some_and(has_bundle));
    if ctx.kind.is_custom()
        || !used(new)
        || old.is_some_and(used)
        || CLUSTER_TRUST_BUNDLES.row(&ctx.api.table()).is_ok()
    {
        return;
    }
    let volumes = VOLUMES.iter().find_map(|at| new.pointer(at).is_some().then_some(*at));
    let volumes = volumes.and_then(|at| new.pointer_mut(at)).and_then(Value::as_array_mut);
    for volume in volumes.into_iter().flatten() {
        let sources = volume.pointer_mut("/projected/sources").and_then(Value::as_array_mut);
        for source in sources.into_iter().flatten().filter_map(Value::as_object_mut) {
            source.remove("clusterTrustBundle");
        }
    }
}

fn has_bundle(volumes: &Value) -> bool {
    let volumes = volumes.as_array().into_iter().flatten();
    let mut sources = volumes.flat_map(|volume| volume.list_at(&["projected", "sources"]));
    sources.any(|source| source.get("clusterTrustBundle").is_some())
}
