//! Where the pods behind a port of a service are, pure: from the Service and its EndpointSlices.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use api::address::Dialable;
use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use crate::routes::Port;

/// Label of a slice: its service.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// The protocol of a port on which HTTP/2 is spoken without TLS.
const H2C: &str = "kubernetes.io/h2c";

/// What is behind a port of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Where requests may go.
    pub all: BTreeSet<SocketAddr>,
    /// Whether HTTP/2 is spoken there.
    pub h2: bool,
}

/// Why nothing can be behind it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// There is no such service.
    #[error("the service is not there")]
    Service,
    /// It has no such port.
    #[error("the service has no such port")]
    Port,
    /// It is but a name for something else, which may be anything that this controller reaches.
    #[error("services of type ExternalName are not served")]
    ExternalName,
}

/// Where the endpoints of a port are: those that are ready, or, when none is, those that end and still answer. What is
/// no address of a machine of the network is left out: whoever writes slices shall not have this one call itself.
///
/// # Errors
/// When there is no such port.
pub fn addresses(
    service: Option<&Service>,
    slices: &[Arc<EndpointSlice>],
    port: &Port,
) -> Result<Addresses, Missing> {
    let spec = service.ok_or(Missing::Service)?.spec.as_ref().ok_or(Missing::Port)?;
    if spec.type_.as_deref() == Some("ExternalName") {
        return Err(Missing::ExternalName);
    }
    let fits = |known: &&ServicePort| match port {
        Port::Name(name) => known.name.as_ref() == Some(name),
        Port::Number(number) => known.port == *number,
    };
    let port = spec.ports.iter().flatten().find(fits).ok_or(Missing::Port)?;
    let name = port.name.as_deref().unwrap_or_default();
    let of_those = |serves: fn(&Endpoint) -> bool| {
        let mut all = BTreeSet::new();
        for slice in slices {
            let ports = slice.ports.iter().flatten();
            let port = ports.filter(|port| port.name.as_deref().unwrap_or_default() == name);
            let Some(port) = port.filter_map(|port| u16::try_from(port.port?).ok()).next() else { continue };
            for endpoint in slice.endpoints.iter().flatten().filter(|endpoint| serves(endpoint)) {
                let dialable = endpoint.addresses.iter().filter_map(|ip| Dialable::parse(ip).ok());
                all.extend(dialable.map(|ip| SocketAddr::new(ip.ip(), port)));
            }
        }
        all
    };
    let mut all = of_those(is_ready);
    if all.is_empty() {
        all = of_those(still_serves);
    }
    Ok(Addresses { all, h2: port.app_protocol.as_deref() == Some(H2C) })
}

fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) != Some(false)
}

fn still_serves(endpoint: &Endpoint) -> bool {
    let conditions = endpoint.conditions.as_ref();
    conditions.is_some_and(|known| known.serving == Some(true) && known.terminating == Some(true))
}

#[cfg(test)]
mod tests;
