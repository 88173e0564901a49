//! What the runtime hands a CNI plugin: environment variables and a configuration on stdin.
//!
//! Both are checked here, completely and without touching the machine; everything behind
//! this module may rely on them. Upstream: `containernetworking/cni` `pkg/skel`.

use api::{Message, message};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use ipnet::Ipv4Net;
use machinery::netfilter::Protocol;
use serde::Deserialize;
use serde_json::Value;

use super::CniError;

/// The versions of the specification whose results we can write, oldest first.
pub const SUPPORTED_VERSIONS: [&str; 4] = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Wire a container.
    Add,
    /// Take the wires away; never fails for what is already gone.
    Del,
    /// Is the container still wired as ADD did it?
    Check,
    /// Which versions are spoken.
    Version,
    /// Would ADD work now?
    Status,
    /// Free everything that belongs to no attachment of the given list.
    Gc,
}

/// The container that a command is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The runtime's name for the sandbox.
    pub container_id: String,
    /// The interface's name inside.
    pub if_name: String,
}

impl Attachment {
    /// The key under which state is kept.
    pub fn key(&self) -> String {
        format!("{}/{}", self.container_id, self.if_name)
    }
}

/// The checked request.
#[derive(Debug, Clone)]
pub struct Request {
    /// What to do.
    pub command: Command,
    /// To whom; commands about the whole network (VERSION, STATUS, GC) have none.
    pub attachment: Option<Attachment>,
    /// Path of the container's network namespace; DEL may come without.
    pub netns: Option<PathBuf>,
    /// The network.
    pub network: Network,
}

/// One plugin's part of a network configuration list, as the runtime completes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// The version in which the answer is to be given.
    #[serde(default)]
    pub cni_version: String,
    /// The network's name.
    #[serde(default)]
    pub name: String,
    /// Name of the bridge on the node.
    #[serde(default = "default_bridge")]
    pub bridge: String,
    /// The node's range of pod addresses.
    #[serde(rename = "podCIDR")]
    pub pod_cidr: Option<Ipv4Net>,
    /// MTU of the pods' interfaces; the kernel's default without.
    #[serde(default)]
    pub mtu: u32,
    /// Folder below which the state of the network is kept.
    #[serde(default)]
    pub data_dir: PathBuf,
    /// What the runtime adds for this container.
    #[serde(default)]
    pub runtime_config: RuntimeConfig,
    /// What ADD answered, given to CHECK and DEL.
    pub prev_result: Option<Value>,
    /// GC: everything else is to go.
    #[serde(rename = "cni.dev/valid-attachments")]
    pub valid_attachments: Option<Vec<ValidAttachment>>,
}

fn default_bridge() -> String {
    "cni0".to_owned()
}

/// Per-container additions, one for each capability that the configuration list names.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeConfig {
    /// Ports of the node that lead to the container.
    #[serde(default)]
    pub port_mappings: Vec<PortMapping>,
}

/// One host port. (containerd writes the names as Go has them, with a capital; plugins in Go do not
/// notice.)
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    /// Port on the node; 0 stands for none.
    #[serde(alias = "HostPort")]
    pub host_port: u16,
    /// Port in the pod.
    #[serde(alias = "ContainerPort")]
    pub container_port: u16,
    /// tcp, udp or sctp.
    #[serde(alias = "Protocol")]
    pub protocol: String,
    /// Only on this address of the node; empty, 0.0.0.0 or :: for all.
    #[serde(default, rename = "hostIP", alias = "HostIP")]
    pub host_ip: String,
}

impl PortMapping {
    /// The one address of the node on which the port is; none for all of them. Pods have IPv4 alone, so that a port
    /// on one IPv6 address of the node leads nowhere.
    ///
    /// # Errors
    /// A sentence, when there can be no such port.
    pub fn on(&self) -> Result<Option<Ipv4Addr>, Message> {
        let ip = &self.host_ip;
        if ip.is_empty() {
            return Ok(None);
        }
        match ip.parse::<IpAddr>().map(|address| address.to_canonical()) {
            Ok(address) if address.is_unspecified() => Ok(None),
            Ok(IpAddr::V4(address)) => Ok(Some(address)),
            Ok(IpAddr::V6(_)) => {
                Err(message!("hostIP {ip:?} of a port mapping is IPv6, and pods have IPv4 addresses only"))
            }
            Err(_) => Err(message!("hostIP {ip:?} of a port mapping is not an address")),
        }
    }
}

/// An attachment that GC must leave alone.
#[derive(Debug, Clone, Deserialize)]
pub struct ValidAttachment {
    /// The runtime's name for the sandbox.
    #[serde(rename = "containerID")]
    pub container_id: String,
    /// The interface's name inside.
    pub ifname: String,
}

impl Network {
    /// The range of pod addresses, which ADD cannot do without.
    pub fn range(&self) -> Result<Ipv4Net, CniError> {
        let invalid = |why: &str| CniError::new(CniError::INVALID_CONFIG, "podCIDR is unusable", why);
        let range = self.pod_cidr.ok_or_else(|| invalid("the configuration has none"))?;
        if range.prefix_len() > 30 {
            return Err(invalid("it has no room for a gateway and a pod"));
        }
        Ok(range.trunc())
    }

    /// The bridge's address: the first one of the range.
    pub fn gateway(&self) -> Result<Ipv4Addr, CniError> {
        let range = self.range()?;
        Ok(Ipv4Addr::from(u32::from(range.network()) + 1))
    }
}

/// Reads and checks what the runtime says. `env` looks up an environment variable.
pub fn parse(env: impl Fn(&str) -> Option<String>, stdin: &[u8]) -> Result<Request, CniError> {
    let env_error = |details: String| {
        CniError::new(CniError::INVALID_ENVIRONMENT, "the environment is not a CNI request", details)
    };
    let required = |name: &str| {
        env(name).filter(|value| !value.is_empty()).ok_or_else(|| env_error(format!("{name} is not set")))
    };
    let command = match required("CNI_COMMAND")?.as_str() {
        "ADD" => Command::Add,
        "DEL" => Command::Del,
        "CHECK" => Command::Check,
        "VERSION" => Command::Version,
        "STATUS" => Command::Status,
        "GC" => Command::Gc,
        other => return Err(env_error(format!("CNI_COMMAND {other:?} is not known"))),
    };
    let network: Network = serde_json::from_slice(stdin)
        .map_err(|e| CniError::new(CniError::DECODING, "cannot decode the network configuration", e))?;
    if command == Command::Version {
        return Ok(Request { command, attachment: None, netns: None, network });
    }
    if !SUPPORTED_VERSIONS.contains(&network.cni_version.as_str()) {
        return Err(CniError::new(
            CniError::INCOMPATIBLE_VERSION,
            format!("cniVersion {:?} is not supported", network.cni_version),
            format!("supported are {}", SUPPORTED_VERSIONS.join(", ")),
        ));
    }
    let too_new = match command {
        Command::Check => network.cni_version == "0.3.1",
        Command::Status | Command::Gc => network.cni_version != "1.1.0",
        _ => false,
    };
    if too_new {
        return Err(CniError::new(
            CniError::INCOMPATIBLE_VERSION,
            format!("cniVersion {:?} has no such command", network.cni_version),
            required("CNI_COMMAND")?,
        ));
    }
    check_network(&network)?;
    if command == Command::Add {
        check_ports(&network)?;
    }
    let mut request = Request { command, attachment: None, netns: None, network };
    if matches!(command, Command::Add | Command::Del | Command::Check) {
        let container_id = required("CNI_CONTAINERID")?;
        let if_name = required("CNI_IFNAME")?;
        if !is_container_id(&container_id) {
            return Err(env_error(format!("CNI_CONTAINERID {container_id:?} is malformed")));
        }
        if !is_interface_name(&if_name) {
            return Err(env_error(format!("CNI_IFNAME {if_name:?} is not a name of an interface")));
        }
        request.attachment = Some(Attachment { container_id, if_name });
        request.netns = match command {
            Command::Del => env("CNI_NETNS").filter(|path| !path.is_empty()),
            _ => Some(required("CNI_NETNS")?),
        }
        .map(PathBuf::from);
    }
    Ok(request)
}

fn check_network(network: &Network) -> Result<(), CniError> {
    let invalid = |details: String| {
        CniError::new(CniError::INVALID_CONFIG, "the network configuration is not valid", details)
    };
    if network.name.is_empty() {
        return Err(invalid("name is empty".to_owned()));
    }
    if !is_interface_name(&network.bridge) {
        return Err(invalid(format!("bridge {:?} is not a name of an interface", network.bridge)));
    }
    if !network.data_dir.is_absolute() {
        return Err(invalid(format!("dataDir {:?} is not an absolute path", network.data_dir)));
    }
    Ok(())
}

/// Only where ports are opened: what cannot be opened can be closed, or its pod would never go.
fn check_ports(network: &Network) -> Result<(), CniError> {
    let invalid = |details: String| {
        CniError::new(CniError::INVALID_CONFIG, "the network configuration is not valid", details)
    };
    for mapping in &network.runtime_config.port_mappings {
        if Protocol::parse(&mapping.protocol).is_none() {
            return Err(invalid(format!("protocol {:?} of a port mapping is not known", mapping.protocol)));
        }
        if mapping.container_port == 0 {
            return Err(invalid("containerPort of a port mapping is 0".to_owned()));
        }
        mapping.on().map_err(|why| invalid(why.into()))?;
    }
    Ok(())
}

fn is_container_id(id: &str) -> bool {
    id.starts_with(|c: char| c.is_ascii_alphanumeric())
        && id.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

fn is_interface_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() < 16
        && name != "."
        && name != ".."
        && !name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace())
}

#[cfg(test)]
mod tests;
