//! What every cluster has from its first second on: the system namespaces and priority classes, the flow
//! schemas, and the `kubernetes` service with its address range and this server among its endpoints.

pub mod roles;

use std::sync::Arc;

use api::{conditions, object::ObjectExt as _, status::Status};
use futures::{future::try_join_all, try_join};
use kinds::{
    builtin::{flow_control, priority_class},
    kind::Part,
};
use serde_json::{Value, json};

use crate::{
    Api,
    context::Ctx,
    controllers::servers,
    resources::{
        BuiltIn, FLOW_SCHEMAS, NAMESPACES, PRIORITY_CLASSES, PRIORITY_LEVELS, SERVICE_CIDRS, SERVICES,
    },
    stamp::now,
    verbs::{
        create::ensure,
        update::{self, Expected},
    },
};

/// The objects that every cluster has.
pub fn objects(api: &Api) -> Vec<(BuiltIn, Value)> {
    let namespaces = ["default", "kube-node-lease", "kube-public", "kube-system"];
    let namespaces = namespaces.iter().map(|name| json!({"metadata": {"name": name}})).collect();
    let (levels, schemas) = flow_control::bootstrap();
    let range = json!({
        "metadata": {"name": "kubernetes", "finalizers": ["networking.k8s.io/service-cidr-finalizer"]},
        "spec": {"cidrs": [api.config.ranges.addresses]},
    });
    let service = json!({
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": api.config.ranges.first_address(),
            "ports": [{"name": "https", "port": 443, "targetPort": api.port(), "protocol": "TCP"}],
        },
    });
    let all: [(BuiltIn, Vec<Value>); 6] = [
        (NAMESPACES, namespaces),
        (PRIORITY_LEVELS, levels),
        (FLOW_SCHEMAS, schemas),
        (PRIORITY_CLASSES, priority_class::bootstrap()),
        (SERVICE_CIDRS, vec![range]),
        (SERVICES, vec![service]),
    ];
    all.into_iter()
        .flat_map(|(resource, all)| all.into_iter().map(move |object| (resource, object)))
        .collect()
}

/// Makes what is missing.
///
/// # Errors
/// When the store does not answer, or an object is refused.
pub async fn run(api: &Arc<Api>) -> Result<(), Status> {
    let is_cluster_wide = |(_, object): &(BuiltIn, Value)| object.namespace().is_empty();
    let (cluster_wide, others): (Vec<_>, Vec<_>) = objects(api).into_iter().partition(is_cluster_wide);
    // The store takes what comes together in one go.
    let ensure_all =
        |all: Vec<_>| try_join_all(all.into_iter().map(|(resource, object)| ensure(api, resource, object)));
    ensure_all(cluster_wide).await?;
    try_join!(ensure_all(others), ready_range(api), servers::look(api)).map(|_| ())
}

/// Says that the range that services draw from is ready.
async fn ready_range(api: &Arc<Api>) -> Result<(), Status> {
    let ctx = Ctx::internal(api, SERVICE_CIDRS, None, Some("kubernetes"))?.at_status();
    update::edit(&ctx, Part::Status, Expected::default(), |range| {
        if conditions::of(range).is_empty() {
            let why = "Kubernetes Service CIDR is ready";
            conditions::set_in(range, conditions::told("Ready", true, "", why, &now()));
        }
    })
    .await
    .map(|_| ())
}
