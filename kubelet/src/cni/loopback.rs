//! The plugin `loopback`, which runtimes call by that name before any other: brings a
//! sandbox's `lo` up. It keeps nothing. Upstream: the plugin of the same name.

use std::path::Path;

use rtnetlink::LinkUnspec;
use serde_json::{Value, json};

use super::CniError;
use crate::netlink::{Netlink, in_namespace};

/// The name by which runtimes call it.
const TYPE: &str = "loopback";

/// The version of the answer, if the configuration on stdin is meant for this plugin.
pub fn asked(stdin: &[u8]) -> Option<String> {
    let config: Value = serde_json::from_slice(stdin).ok()?;
    (config["type"] == TYPE).then(|| config["cniVersion"].as_str().unwrap_or("1.0.0").to_owned())
}

/// Carries a command out: only ADD has anything to do.
pub fn run(version: &str, command: &str, netns: Option<&Path>) -> Result<Option<Value>, CniError> {
    match (command, netns) {
        ("VERSION", _) => Ok(Some(super::result::versions())),
        ("ADD", Some(netns)) => {
            let cannot = || format!("cannot bring lo up in {}", netns.display());
            in_namespace(netns, async || bring_up().await)
                .map_err(|e| CniError::io("enter", netns, &e))?
                .map_err(|e| CniError::new(CniError::NETLINK, cannot(), e))?;
            Ok(Some(answer(version, netns)))
        }
        ("ADD", None) => {
            Err(CniError::new(CniError::INVALID_ENVIRONMENT, "the request names no namespace", "CNI_NETNS"))
        }
        _ => Ok(None),
    }
}

async fn bring_up() -> Result<(), rtnetlink::Error> {
    let sandbox = Netlink::open().map_err(|e| rtnetlink::Error::NamespaceError(e.to_string()))?;
    if let Some(lo) = sandbox.find_link("lo").await? {
        sandbox.link().set(LinkUnspec::new_with_index(lo.index).up().build()).execute().await?;
    }
    Ok(())
}

fn answer(version: &str, netns: &Path) -> Value {
    let mut ip = json!({"address": "127.0.0.1/8", "interface": 0});
    if version.starts_with('0') {
        ip["version"] = json!("4");
    }
    json!({
        "cniVersion": version,
        "interfaces": [{"name": "lo", "mac": "00:00:00:00:00:00", "sandbox": netns}],
        "ips": [ip],
        "dns": {},
    })
}

#[cfg(test)]
mod tests;
