//! Which resources the API serves, asked for in two requests (aggregated
//! discovery). Namespace deletion and garbage collection go by it, so that they
//! know custom resources as well as built-in ones.

use kube::core::discovery::v2::{APIGroupDiscovery, APIResourceDiscovery};

use crate::frame::Kind;

/// One resource that the API serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// How it is called.
    pub kind: Kind,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// What can be done with it.
    pub verbs: Vec<String>,
}

impl Served {
    /// Whether all of these can be done with it.
    pub fn can(&self, verbs: &[&str]) -> bool {
        verbs.iter().all(|verb| self.verbs.iter().any(|known| known == verb))
    }
}

/// All that the API serves.
#[derive(Debug, Default)]
pub struct Discovered {
    /// Each resource in its group's preferred version only.
    pub resources: Vec<Served>,
    /// Groups and versions whose servers do not tell.
    pub stale: Vec<String>,
}

/// Asks the API server.
pub async fn discover(client: &kube::Client) -> Result<Discovered, kube::Error> {
    let mut groups = client.list_core_api_versions_aggregated().await?.items;
    groups.extend(client.list_api_groups_aggregated().await?.items);
    let stale = groups.iter().flat_map(|group| {
        let name = group.metadata.as_ref().and_then(|meta| meta.name.as_deref()).unwrap_or_default();
        let stale = group.versions.iter().filter(|version| version.freshness.as_deref() == Some("Stale"));
        stale.map(move |version| format!("{name}/{}", version.version.as_deref().unwrap_or_default()))
    });
    Ok(Discovered { stale: stale.collect(), resources: flatten(groups).collect() })
}

fn flatten(groups: Vec<APIGroupDiscovery>) -> impl Iterator<Item = Served> {
    groups.into_iter().flat_map(|group| {
        let name = group.metadata.and_then(|meta| meta.name).unwrap_or_default();
        let mut known: Vec<String> = Vec::new();
        let mut found = Vec::new();
        for version in group.versions {
            let number = version.version.unwrap_or_default();
            for resource in version.resources {
                let Some(served) = served(&name, &number, resource) else { continue };
                if !known.contains(&served.kind.plural) {
                    known.push(served.kind.plural.clone());
                    found.push(served);
                }
            }
        }
        found
    })
}

fn served(group: &str, version: &str, resource: APIResourceDiscovery) -> Option<Served> {
    let kind = Kind {
        group: group.to_owned(),
        version: version.to_owned(),
        plural: resource.resource?,
        kind: resource.response_kind.and_then(|kind| kind.kind)?,
    };
    Some(Served { kind, namespaced: resource.scope.as_deref() == Some("Namespaced"), verbs: resource.verbs })
}
