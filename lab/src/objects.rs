//! Objects of any kind, from JSON.

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Event, Node};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

use super::Lab;

impl Lab {
    /// Creates an object; one in a namespace that names none lies in `default`.
    pub async fn create(&self, object: Value) -> DynamicObject {
        let api = self.api_of(&object);
        let object = serde_json::from_value(object).unwrap();
        api.create(&PostParams::default(), &object).await.unwrap()
    }

    /// Merge-patches an object of the namespace `default`, or of none; `kind` is API version and kind.
    pub async fn patch(&self, kind: (&str, &str), name: &str, patch: Value) {
        let api = self.api_of(&json!({"apiVersion": kind.0, "kind": kind.1}));
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// Deletes an object in the way `params` say.
    pub async fn delete(&self, kind: (&str, &str), name: &str, params: &DeleteParams) {
        let api = self.api_of(&json!({"apiVersion": kind.0, "kind": kind.1}));
        api.delete(name, params).await.unwrap();
    }

    fn api_of(&self, object: &Value) -> Api<DynamicObject> {
        let (version, name) = (object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
        let kinds = kinds::builtin::all();
        let kind = kinds.iter().find(|kind| kind.kind == name && kind.api_version() == version);
        // What a definition made is taken to have a plural in s, and to lie in namespaces.
        let plural = kind.map_or_else(|| format!("{}s", name.to_lowercase()), |kind| kind.plural.to_string());
        let (group, number) = version.rsplit_once('/').unwrap_or(("", version));
        let resource =
            ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, number, name), &plural);
        if kind.is_some_and(|kind| !kind.namespaced) {
            return Api::all_with(self.client.clone(), &resource);
        }
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default");
        Api::namespaced_with(self.client.clone(), namespace, &resource)
    }

    /// A node that says it is ready.
    pub async fn node(&self, name: &str) {
        self.create(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})).await;
        let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]}});
        self.all::<Node>().patch_status(name, &PatchParams::default(), &Patch::Merge(ready)).await.unwrap();
    }

    /// The messages of all events of a reason.
    pub async fn events(&self, reason: &str) -> Vec<String> {
        let found = self.all::<Event>().list(&ListParams::default()).await.unwrap().items;
        let said = found.into_iter().filter(|event| event.reason.as_deref() == Some(reason));
        said.filter_map(|event| event.message).collect()
    }

    /// The typed API of the namespace `default`.
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), "default")
    }

    /// The typed API of all of the cluster.
    pub fn all<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = ()>,
    {
        Api::all(self.client.clone())
    }
}

/// A Deployment of one container.
pub fn deployment(name: &str, replicas: i32, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": image}]},
            },
        },
    })
}

/// What is called `DEPLOYMENT` in patches.
pub const DEPLOYMENT: (&str, &str) = ("apps/v1", "Deployment");
