//! A pod's resolver by its DNS policy, and the files of its names. Pure but for reading the node's
//! resolv.conf. Corresponds to upstream's `network/dns` and `ensureHostsFile`.

use k8s_openapi::api::core::v1::{HostAlias, Pod};
use proto::cri::DnsConfig;

use crate::pod_spec;

/// The node's own resolver, from its resolv.conf.
pub fn parse(text: &str) -> DnsConfig {
    let mut config = DnsConfig::default();
    for line in text.lines() {
        let mut words = line.split_whitespace().take_while(|word| !word.starts_with(['#', ';']));
        match words.next() {
            Some("nameserver") => config.servers.extend(words.next().map(str::to_owned)),
            Some("search" | "domain") => {
                config.searches = words.map(|w| w.trim_end_matches('.').to_owned()).collect()
            }
            Some("options") => config.options = words.map(str::to_owned).collect(),
            _ => {}
        }
    }
    config
}

/// The pod's resolver.
pub fn for_pod(pod: &Pod, node: &DnsConfig, cluster_dns: &[String], cluster_domain: &str) -> DnsConfig {
    let spec = pod_spec::spec(pod);
    let policy = spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
    let cluster_first = match policy {
        "ClusterFirstWithHostNet" => true,
        "ClusterFirst" => !pod_spec::host_network(pod),
        _ => false,
    };
    let mut config = if policy == "None" {
        DnsConfig::default()
    } else if cluster_first && !cluster_dns.is_empty() {
        let own = [
            format!("{}.svc.{cluster_domain}", pod_spec::namespace(pod)),
            format!("svc.{cluster_domain}"),
            cluster_domain.to_owned(),
        ];
        let mut searches = own.to_vec();
        searches.extend(node.searches.iter().filter(|search| !own.contains(search)).cloned());
        DnsConfig { servers: cluster_dns.to_vec(), searches, options: vec!["ndots:5".to_owned()] }
    } else {
        node.clone()
    };
    if let Some(asked) = &spec.dns_config {
        append(&mut config.servers, asked.nameservers.iter().flatten());
        append(&mut config.searches, asked.searches.iter().flatten());
        for option in asked.options.iter().flatten() {
            let name = option.name.as_deref().unwrap_or_default();
            config.options.retain(|known| known.split(':').next() != Some(name));
            config.options.push(match &option.value {
                Some(value) => format!("{name}:{value}"),
                None => name.to_owned(),
            });
        }
    }
    config
}

/// How many servers resolvers ask.
const MOST_SERVERS: usize = 3;
/// How many domains resolvers search, the longest of them, and the longest line of all.
const MOST_SEARCHES: usize = 32;
const LONGEST_SEARCH: usize = 253;
const LONGEST_LINE: usize = 2048;

/// Cuts what resolvers would not take; answers what is to be told of it.
pub fn fit(config: &mut DnsConfig) -> Vec<String> {
    let mut told = Vec::new();
    if config.servers.len() > MOST_SERVERS {
        config.servers.truncate(MOST_SERVERS);
        told.push(format!(
            "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: {}",
            config.servers.join(" ")
        ));
    }
    let asked = config.searches.len();
    config.searches.truncate(MOST_SEARCHES);
    config.searches.retain(|search| search.len() <= LONGEST_SEARCH);
    let mut line = 0;
    let fitting = config.searches.iter().take_while(|search| {
        line += search.len() + 1;
        line <= LONGEST_LINE + 1
    });
    let fitting = fitting.count();
    config.searches.truncate(fitting);
    if config.searches.len() < asked {
        told.push(format!(
            "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: {}",
            config.searches.join(" ")
        ));
    }
    told
}

fn append<'a>(list: &mut Vec<String>, more: impl Iterator<Item = &'a String>) {
    for item in more {
        if !list.contains(item) {
            list.push(item.clone());
        }
    }
}

/// The host's `/etc/hosts` for a pod on its network, in which the host's own name leads to its address.
pub fn node_hosts(mut hosts: String, hostname: &str, ip: &str) -> String {
    let names = |line: &str| {
        let line = line.split('#').next().unwrap_or_default();
        line.split_whitespace().skip(1).any(|name| name == hostname)
    };
    if !hostname.is_empty() && !hosts.lines().any(names) {
        if !hosts.is_empty() && !hosts.ends_with('\n') {
            hosts.push('\n');
        }
        hosts.push_str(&format!("{ip}\t{hostname}\n"));
    }
    hosts
}

/// The pod's `/etc/hosts`; on the host's network it starts from the host's.
pub fn hosts_file(
    pod: &Pod,
    ips: &[String],
    hostname: &str,
    domain: Option<&str>,
    node_hosts: Option<&str>,
) -> String {
    let mut text = match node_hosts {
        Some(hosts) => format!("# Kubernetes-managed hosts file (host network).\n{hosts}"),
        None => {
            let mut text = String::from("# Kubernetes-managed hosts file.\n");
            text.push_str("127.0.0.1\tlocalhost\n");
            text.push_str("::1\tlocalhost ip6-localhost ip6-loopback\n");
            text.push_str("fe00::0\tip6-localnet\n");
            text.push_str("fe00::0\tip6-mcastprefix\n");
            text.push_str("fe00::1\tip6-allnodes\n");
            text.push_str("fe00::2\tip6-allrouters\n");
            for ip in ips {
                match domain {
                    Some(domain) => text.push_str(&format!("{ip}\t{hostname}.{domain}\t{hostname}\n")),
                    None => text.push_str(&format!("{ip}\t{hostname}\n")),
                }
            }
            text
        }
    };
    let aliases: &[HostAlias] = pod_spec::spec(pod).host_aliases.as_deref().unwrap_or_default();
    if !aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
        for alias in aliases {
            let names = alias.hostnames.clone().unwrap_or_default().join("\t");
            text.push_str(&format!("{}\t{names}\n", alias.ip));
        }
    }
    text
}

#[cfg(test)]
mod tests;
