//! What every namespace has from the start: the ServiceAccount `default` and
//! the ConfigMap `kube-root-ca.crt`. Upstream: `serviceaccounts_controller.go`
//! and `rootcacertpublisher`.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use machinery::queue::Queue;

use crate::caches::Caches;
use crate::frame::{Action, Controller, Key, Kind, Plan, Timestamp};
use crate::kit::owners;

/// The controller.
pub struct NamespaceDefaults {
    caches: Caches,
    makes_account: bool,
    certificate: Option<Arc<str>>,
}

impl NamespaceDefaults {
    /// Sees to it that changes reach the queue. Namespaces get an account, and the certificate of an authority, if they are
    /// to.
    pub fn new(
        caches: &Caches,
        queue: &Queue<Key>,
        makes_account: bool,
        certificate: Option<Arc<str>>,
    ) -> Self {
        let keys = queue.clone();
        caches.namespaces.on_change(move |change| keys.add(Key::of(&change.latest().metadata)));
        let keys = queue.clone();
        caches.accounts.on_change(move |change| {
            let account = &change.latest().metadata;
            if owners::name(account) == ACCOUNT {
                keys.add(Key::cluster(owners::namespace(account)));
            }
        });
        let keys = queue.clone();
        caches.root_cas.on_change(move |change| {
            keys.add(Key::cluster(owners::namespace(&change.latest().metadata)));
        });
        NamespaceDefaults { caches: caches.clone(), makes_account, certificate }
    }
}

impl Controller for NamespaceDefaults {
    type Snapshot = Snapshot;

    const NAME: &'static str = "serviceaccount";

    fn writes() -> Vec<Kind> {
        vec![Kind::of::<ConfigMap>(), Kind::of::<ServiceAccount>()]
    }

    fn observe(&self, key: &Key, _now: Timestamp) -> Option<Snapshot> {
        Some(Snapshot {
            namespace: self.caches.namespaces.get(None, &key.name)?,
            lacks_account: self.makes_account && self.caches.accounts.get(Some(&key.name), ACCOUNT).is_none(),
            root_ca: self.caches.root_cas.get(Some(&key.name), ROOT_CA),
            certificate: self.certificate.clone(),
        })
    }

    fn plan(&self, snapshot: &Snapshot, _now: Timestamp) -> Plan {
        plan(snapshot)
    }
}

/// Name of the ConfigMap.
pub const ROOT_CA: &str = "kube-root-ca.crt";
/// Key in the ConfigMap.
const ROOT_CA_KEY: &str = "ca.crt";
const ROOT_CA_NOTE: (&str, &str) = (
    "kubernetes.io/description",
    "The authority that vouches for the API server towards programs inside the cluster.",
);
/// Name of the ServiceAccount.
const ACCOUNT: &str = "default";

/// All that a plan for one namespace looks at.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The namespace.
    pub namespace: Arc<Namespace>,
    /// Whether it is to have a default account and has none.
    pub lacks_account: bool,
    /// Its root certificate.
    pub root_ca: Option<Arc<ConfigMap>>,
    /// The certificate it should hold, if this cluster publishes one.
    pub certificate: Option<Arc<str>>,
}

/// Makes what is missing and mends what is not as it should be.
pub fn plan(snapshot: &Snapshot) -> Plan {
    let mut plan = Plan::default();
    let status = snapshot.namespace.status.as_ref();
    let going = snapshot.namespace.metadata.deletion_timestamp.is_some()
        || status.is_some_and(|status| status.phase.as_deref() == Some("Terminating"));
    if going {
        return plan;
    }
    let metadata = |name: &str| ObjectMeta {
        name: Some(name.to_owned()),
        namespace: snapshot.namespace.metadata.name.clone(),
        ..Default::default()
    };
    if snapshot.lacks_account {
        plan.actions
            .push(Action::create(&ServiceAccount { metadata: metadata(ACCOUNT), ..Default::default() }));
    }
    let Some(certificate) = &snapshot.certificate else { return plan };
    let mut wanted = match &snapshot.root_ca {
        Some(present) => (**present).clone(),
        None => ConfigMap { metadata: metadata(ROOT_CA), ..Default::default() },
    };
    wanted.data = Some([(ROOT_CA_KEY.to_owned(), certificate.to_string())].into());
    let (key, text) = ROOT_CA_NOTE;
    wanted.metadata.annotations.get_or_insert_default().insert(key.to_owned(), text.to_owned());
    match &snapshot.root_ca {
        Some(present) => plan.actions.extend(Action::change(&**present, &wanted, None)),
        None => plan.actions.push(Action::create(&wanted)),
    }
    plan
}
