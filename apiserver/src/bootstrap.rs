//! What every cluster has from its first second on: the system namespaces and priority classes, the flow
//! schemas, and the `kubernetes` service with its address range and this server among its endpoints.

use std::sync::Arc;

use api::{
    conditions,
    kind::Part,
    kinds::{flow_control, priority_class},
    object::ObjectExt as _,
    status::Status,
};
use futures::{future::try_join_all, try_join};
use serde_json::{Value, json};

use crate::{
    Api,
    context::Ctx,
    controllers::servers,
    stamp::now,
    verbs::{create::ensure, update},
};

const NAMESPACES: &[&str] = &["default", "kube-node-lease", "kube-public", "kube-system"];

/// Makes what is missing.
///
/// # Errors
/// When the store does not answer, or an object is refused.
pub async fn run(api: &Arc<Api>) -> Result<(), Status> {
    let namespaces = NAMESPACES.iter().map(|name| json!({"metadata": {"name": name}})).collect();
    let (levels, schemas) = flow_control::bootstrap();
    const FLOW_CONTROL: &str = "flowcontrol.apiserver.k8s.io";
    let cluster_wide = [
        (("", "v1", "namespaces"), namespaces),
        ((FLOW_CONTROL, "v1", "prioritylevelconfigurations"), levels),
        ((FLOW_CONTROL, "v1", "flowschemas"), schemas),
        (("scheduling.k8s.io", "v1", "priorityclasses"), priority_class::bootstrap()),
    ];
    let of_kind = |(resource, objects): (_, Vec<Value>)| {
        objects.into_iter().map(move |object| ensure(api, resource, None, object))
    };
    // The store takes what comes together in one go.
    try_join!(try_join_all(cluster_wide.into_iter().flat_map(of_kind)), service_range(api))?;
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
    try_join!(ensure(api, ("", "v1", "services"), Some("default"), service), servers::look(api)).map(|_| ())
}

/// Shows the range that services draw from.
async fn service_range(api: &Arc<Api>) -> Result<(), Status> {
    const RANGES: (&str, &str, &str) = ("networking.k8s.io", "v1", "servicecidrs");
    let range = json!({
        "metadata": {"name": "kubernetes", "finalizers": ["networking.k8s.io/service-cidr-finalizer"]},
        "spec": {"cidrs": [api.config.ranges.addresses]},
    });
    ensure(api, RANGES, None, range).await?;
    let ctx = Ctx::internal(api, RANGES, None, Some("kubernetes"))?.at_status();
    update::write(&ctx, Part::Status, update::Expected::default(), &mut Vec::new(), |current| {
        let mut new = current.clone();
        if conditions::of(&new).is_empty() {
            let why = "Kubernetes Service CIDR is ready";
            conditions::set_in(&mut new, conditions::told("Ready", true, "", why, &now()));
        }
        Ok(new)
    })
    .await
    .map(|_| ())
}

/// Where the objects are that [`run`] makes, as prefixes and keys of the cache.
pub fn places() -> Vec<(&'static str, String)> {
    let names = |objects: Vec<Value>| objects.into_iter().map(|o| o.name().to_owned()).collect::<Vec<_>>();
    let (levels, schemas) = flow_control::bootstrap();
    let mut places: Vec<(&'static str, String)> = Vec::new();
    let mut put = |prefix, names: Vec<String>| places.extend(names.into_iter().map(|name| (prefix, name)));
    put("/registry/namespaces/", NAMESPACES.iter().map(|name| (*name).to_owned()).collect());
    put("/registry/flowcontrol.apiserver.k8s.io/prioritylevelconfigurations/", names(levels));
    put("/registry/flowcontrol.apiserver.k8s.io/flowschemas/", names(schemas));
    put("/registry/scheduling.k8s.io/priorityclasses/", names(priority_class::bootstrap()));
    put("/registry/networking.k8s.io/servicecidrs/", vec!["kubernetes".to_owned()]);
    put("/registry/services/", vec!["default/kubernetes".to_owned()]);
    places
}
