//! The host's iptables rules for one cluster: one chain in `filter`, one in `nat`.
//!
//! Invariant: only chains with this cluster's name and the two jumps to them are
//! touched. A cluster without outbound traffic gets no masquerade and a DROP.

use anyhow::Result;
use machinery::iptables;

use crate::cluster::Cluster;

/// The jumps: table, built-in chain.
const JUMPS: [(&str, &str); 2] = [("filter", "FORWARD"), ("nat", "POSTROUTING")];

/// Renders the cluster's chains as input of `iptables-restore --noflush`.
pub fn render(cluster: &Cluster) -> String {
    let (chain, bridge, nodes) = (cluster.chain(), cluster.bridge(), cluster.ranges.nodes);
    let mut filter = vec![format!("-A {chain} -i {bridge} -o {bridge} -j ACCEPT")];
    let mut nat = Vec::new();
    if cluster.outbound {
        filter.push(format!("-A {chain} -i {bridge} -j ACCEPT"));
        filter.push(format!("-A {chain} -o {bridge} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"));
        nat.push(format!("-A {chain} -s {nodes} ! -o {bridge} -j MASQUERADE"));
    } else {
        filter.push(format!("-A {chain} -i {bridge} -j DROP"));
    }
    let table =
        |name: &str, rules: &[String]| format!("*{name}\n:{chain} - [0:0]\n{}\nCOMMIT\n", rules.join("\n"));
    table("filter", &filter) + &table("nat", &nat).replace("\n\n", "\n")
}

/// Puts the cluster's rules in place.
pub fn ensure(cluster: &Cluster) -> Result<()> {
    iptables::restore(&render(cluster))?;
    let chain = cluster.chain();
    for (table, from) in JUMPS {
        if !iptables::has(&["-t", table, "-C", from, "-j", &chain])? {
            iptables::command(&["-t", table, "-I", from, "-j", &chain])?;
        }
    }
    Ok(())
}

/// Takes the cluster's rules away; rules that are not there are fine.
pub fn remove(cluster: &Cluster) -> Result<()> {
    let chain = cluster.chain();
    for (table, from) in JUMPS {
        if !iptables::has(&["-t", table, "-S", &chain])? {
            continue;
        }
        while iptables::has(&["-t", table, "-C", from, "-j", &chain])? {
            iptables::command(&["-t", table, "-D", from, "-j", &chain])?;
        }
        iptables::command(&["-t", table, "-F", &chain])?;
        iptables::command(&["-t", table, "-X", &chain])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
