//! What every cluster has from its first second on: the system namespaces and priority classes, the flow
//! schemas, and the `kubernetes` service with its address range and this server as its endpoint.

use std::{net::IpAddr, sync::Arc};

use api::{
    conditions,
    kind::Part,
    kinds::{flow_control, priority_class},
    object::ObjectExt as _,
    status::Status,
    validation::not_special_ip,
};
use futures::{future::try_join_all, try_join};
use serde_json::{Value, json};

use crate::{
    Api,
    verbs::{Ctx, create::ensure, now, update},
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
    let port = api.port();
    let service = json!({
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": api.config.ranges.first_address(),
            "ports": [{"name": "https", "port": 443, "targetPort": port, "protocol": "TCP"}],
        },
    });
    let endpoint = async {
        match published_address(api.config.advertise) {
            Some(Ok(address)) => publish_endpoint(api, address, port).await,
            // The server serves all the same.
            Some(Err(reason)) => {
                tracing::warn!(reason, "cannot publish this server as an endpoint");
                Ok(())
            }
            None => Ok(()),
        }
    };
    try_join!(ensure(api, ("", "v1", "services"), Some("default"), service), endpoint).map(|_| ())
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
pub fn places(api: &Api) -> Vec<(&'static str, String)> {
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
    if let Some(Ok(_)) = published_address(api.config.advertise) {
        put("/registry/endpoints/", vec!["default/kubernetes".to_owned()]);
        put("/registry/discovery.k8s.io/endpointslices/", vec!["default/kubernetes".to_owned()]);
    }
    places
}

/// The address under which others find this server, if it has one; why not when no endpoint may have that, such as a
/// loopback address.
fn published_address(advertised: Option<IpAddr>) -> Option<Result<IpAddr, String>> {
    let address = advertised?;
    let wrong = not_special_ip(&address.to_string());
    Some(if wrong.is_empty() { Ok(address) } else { Err(format!("{address}: {}", wrong.join(", "))) })
}

/// Publishes this server as the endpoint of the `kubernetes` service.
async fn publish_endpoint(api: &Arc<Api>, address: IpAddr, port: u16) -> Result<(), Status> {
    let endpoints = json!({
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
        },
        "subsets": [{
            "addresses": [{"ip": address}],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        }],
    });
    let slice = json!({
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "addressType": if address.is_ipv4() { "IPv4" } else { "IPv6" },
        "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    });
    let slices = ("discovery.k8s.io", "v1", "endpointslices");
    try_join!(put(api, ("", "v1", "endpoints"), endpoints), put(api, slices, slice)).map(|_| ())
}

/// Creates an object of the `default` namespace, or brings its content up to date.
async fn put(api: &Arc<Api>, resource: (&str, &str, &str), object: Value) -> Result<(), Status> {
    ensure(api, resource, Some("default"), object.clone()).await?;
    let ctx = Ctx::internal(api, resource, Some("default"), Some(object.name()))?;
    let mut warnings = Vec::new();
    update::write(&ctx, Part::Main, update::Expected::default(), &mut warnings, |current| {
        let mut new = current.clone();
        for (field, value) in object.as_object().into_iter().flatten().filter(|(f, _)| *f != "metadata") {
            new[field] = value.clone();
        }
        ctx.kind.rules.default(new).map_err(Status::internal)
    })
    .await
    .map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_endpoints_may_have_are_published() {
        let published = |address: &str| published_address(address.parse().ok());
        for address in ["192.168.1.1", "10.0.0.1", "fd00::1"] {
            assert_eq!(published(address).and_then(Result::ok), address.parse().ok());
        }
        for address in ["127.0.0.1", "::1", "169.254.1.1", "fe80::1", "0.0.0.0"] {
            assert!(matches!(published(address), Some(Err(why)) if why.starts_with(address)), "{address}");
        }
        assert_eq!(published(""), None);
    }
}
