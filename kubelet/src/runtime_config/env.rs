//! The environment of a container: literals, references, whole ConfigMaps and Secrets, the addresses of
//! services. Corresponds to upstream's `makeEnvironmentVariables` and `envvars`.

use api::{Message, message};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use k8s_openapi::api::core::v1::{Container, Pod, Service};

use super::super::downward::{self, NodeFacts};
use super::expansion::{Environment, expand};
use crate::pod_spec;

/// Texts of files by volume and path.
pub type Files = BTreeMap<(String, String), String>;

/// What a container's environment draws on, as far as it exists.
#[derive(Debug, Clone, Default)]
pub struct Objects {
    /// Files of the pod's volumes.
    pub files: Files,
    /// Data of ConfigMaps by name.
    pub config_maps: BTreeMap<String, BTreeMap<String, String>>,
    /// Data of Secrets by name.
    pub secrets: BTreeMap<String, BTreeMap<String, String>>,
}

/// Which ConfigMaps and Secrets a container's environment draws on.
pub fn references(container: &Container) -> (Vec<&str>, Vec<&str>) {
    let (mut maps, mut secrets) = (Vec::new(), Vec::new());
    for source in container.env_from.iter().flatten() {
        maps.extend(source.config_map_ref.as_ref().map(|r| r.name.as_str()));
        secrets.extend(source.secret_ref.as_ref().map(|r| r.name.as_str()));
    }
    for from in container.env.iter().flatten().filter_map(|var| var.value_from.as_ref()) {
        maps.extend(from.config_map_key_ref.as_ref().map(|r| r.name.as_str()));
        secrets.extend(from.secret_key_ref.as_ref().map(|r| r.name.as_str()));
    }
    for list in [&mut maps, &mut secrets] {
        list.sort_unstable();
        list.dedup();
    }
    (maps, secrets)
}

/// Which files of volumes a container's environment draws on, by volume and path.
pub fn files(container: &Container) -> BTreeSet<(String, String)> {
    let from =
        container.env.iter().flatten().filter_map(|var| var.value_from.as_ref()?.file_key_ref.as_ref());
    from.map(|file| (file.volume_name.clone(), file.path.clone())).collect()
}

/// Whatever an environment is made from.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Its addresses.
    pub pod_ips: &'a [String],
    /// What is known of the node.
    pub node: &'a NodeFacts,
    /// The services that the pod is told about.
    pub services: &'a [(String, String)],
    /// ConfigMaps and Secrets.
    pub objects: &'a Objects,
}

/// The variables of a container in the order they are set; on refusal a sentence for its status.
pub fn variables(container: &Container, input: &Input<'_>) -> Result<Environment, Message> {
    let mut set = Environment::default();
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        let data = if let Some(reference) = &source.config_map_ref {
            whole(&input.objects.config_maps, "configmap", &reference.name, reference.optional)?
        } else if let Some(reference) = &source.secret_ref {
            whole(&input.objects.secrets, "secret", &reference.name, reference.optional)?
        } else {
            None
        };
        for (key, value) in data.into_iter().flatten() {
            set.put(&format!("{prefix}{key}"), value.clone())?;
        }
    }
    let of_services: HashMap<&str, &str> =
        input.services.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    for var in container.env.iter().flatten() {
        let value = match (&var.value_from, &var.value) {
            (Some(_), _) => reference(container, var, input)?,
            (None, text) => {
                let lookup = |name: &str| set.get(name).or_else(|| of_services.get(name).copied());
                let value = expand(text.as_deref().unwrap_or_default(), lookup);
                Some(value.map_err(|why| format!("environment variable {:?} is too long: {why}", var.name))?)
            }
        };
        if let Some(value) = value {
            set.put(&var.name, value)?;
        }
    }
    for (name, value) in input.services {
        if set.get(name).is_none() {
            set.put(name, value.clone())?;
        }
    }
    Ok(set)
}

type Data = BTreeMap<String, String>;

fn whole<'a>(
    objects: &'a BTreeMap<String, Data>,
    kind: &str,
    name: &str,
    optional: Option<bool>,
) -> Result<Option<&'a Data>, Message> {
    match objects.get(name) {
        None if optional != Some(true) => Err(message!("{kind} {name:?} not found")),
        found => Ok(found),
    }
}

fn reference(
    container: &Container,
    var: &k8s_openapi::api::core::v1::EnvVar,
    input: &Input<'_>,
) -> Result<Option<String>, Message> {
    let Some(from) = &var.value_from else { return Ok(None) };
    if let Some(field) = &from.field_ref {
        return downward::field(input.pod, input.pod_ips, input.node, &field.field_path).map(Some);
    }
    if let Some(resource) = &from.resource_field_ref {
        let name = resource.container_name.as_deref().filter(|name| !name.is_empty());
        let of = match name {
            Some(name) => pod_spec::container(input.pod, name)
                .map(|(container, _)| container)
                .ok_or_else(|| format!("container {name} not found"))?,
            None => Cow::Borrowed(container),
        };
        return downward::resource(&of, input.node, &resource.resource, resource.divisor.as_ref()).map(Some);
    }
    let key = |objects: &BTreeMap<String, Data>,
               kind: &str,
               word: &str,
               name: &str,
               key: &str,
               optional: Option<bool>| {
        let Some(data) = whole(objects, kind, name, optional)? else { return Ok(None) };
        match data.get(key) {
            Some(value) => Ok(Some(value.clone())),
            None if optional == Some(true) => Ok(None),
            None => {
                Err(message!("couldn't find key {key} in {word} {}/{name}", pod_spec::namespace(input.pod)))
            }
        }
    };
    if let Some(r) = &from.config_map_key_ref {
        return key(&input.objects.config_maps, "configmap", "ConfigMap", &r.name, &r.key, r.optional);
    }
    if let Some(r) = &from.secret_key_ref {
        return key(&input.objects.secrets, "secret", "Secret", &r.name, &r.key, r.optional);
    }
    let Some(r) = &from.file_key_ref else { return Ok(None) };
    // As upstream, a file that is not there is not optional, and what is wrong with it is not for the pod.
    let text = input.objects.files.get(&(r.volume_name.clone(), r.path.clone()));
    let value = text.and_then(|text| value_in_file(text, &r.key)).ok_or("couldn't parse env file")?;
    match value.filter(|value| !value.is_empty()) {
        None if r.optional != Some(true) => {
            Err(message!("environment variable key {:?} not found in file {:?}", r.key, r.path))
        }
        value => Ok(value),
    }
}

/// The value of a variable in a file of `NAME='value'`, as upstream's strict reading of shell syntax has it: nothing in
/// the quotes is special, not even the end of a line, and nothing but a comment follows them. None when the
/// file up to there is not of that form.
fn value_in_file(text: &str, key: &str) -> Option<Option<String>> {
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let line = line.trim_start_matches([' ', '\t']);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=')?;
        if name.is_empty() || name.ends_with([' ', '\t']) {
            return None;
        }
        // What is apart from its name is nothing to a shell, either.
        if value.starts_with([' ', '\t']) {
            if name == key {
                return Some(None);
            }
            continue;
        }
        let mut rest = value.strip_prefix('\'')?;
        let mut value = String::new();
        let after = loop {
            if let Some((end, after)) = rest.split_once('\'') {
                value.push_str(end);
                break after.trim_start_matches([' ', '\t']);
            }
            value.extend([rest, "\n"]);
            rest = lines.next()?;
        };
        if !(after.is_empty() || after.starts_with('#')) {
            return None;
        }
        if name == key {
            return Some(Some(value));
        }
    }
    Some(None)
}

/// The variables that tell a pod of services: always of the API server, and of those in its own namespace
/// when it wants links.
pub fn services<'a>(pod: &Pod, services: impl IntoIterator<Item = &'a Service>) -> Vec<(String, String)> {
    let links = pod_spec::spec(pod).enable_service_links.unwrap_or(true);
    let mut told: BTreeMap<&str, &Service> = BTreeMap::new();
    for service in services {
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
        let api_server = namespace == "default" && name == "kubernetes";
        let own = links && namespace == pod_spec::namespace(pod);
        if own || (api_server && !told.contains_key(name)) {
            told.insert(name, service);
        }
    }
    let mut set = Vec::new();
    for (name, service) in told {
        let Some(spec) = &service.spec else { continue };
        let ip = spec.cluster_ip.as_deref().filter(|ip| !matches!(*ip, "" | "None"));
        let Some((ip, ports)) = ip.zip(spec.ports.as_deref().filter(|ports| !ports.is_empty())) else {
            continue;
        };
        let name = name.to_uppercase().replace('-', "_");
        let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
        let mut add = |suffix: String, value: String| set.push((format!("{name}_{suffix}"), value));
        add("SERVICE_HOST".to_owned(), ip.to_owned());
        add("SERVICE_PORT".to_owned(), ports[0].port.to_string());
        for port in ports.iter().filter(|port| port.name.as_deref().is_some_and(|n| !n.is_empty())) {
            let port_name = port.name.as_deref().unwrap_or_default().to_uppercase().replace('-', "_");
            add(format!("SERVICE_PORT_{port_name}"), port.port.to_string());
        }
        for (index, port) in ports.iter().enumerate() {
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            let url = format!("{}://{host}:{}", protocol.to_lowercase(), port.port);
            if index == 0 {
                add("PORT".to_owned(), url.clone());
            }
            let prefix = format!("PORT_{}_{}", port.port, protocol.to_uppercase());
            add(prefix.clone(), url);
            add(format!("{prefix}_PROTO"), protocol.to_lowercase());
            add(format!("{prefix}_PORT"), port.port.to_string());
            add(format!("{prefix}_ADDR"), ip.to_owned());
        }
    }
    set
}
