use serde_json::{Value, json};

use super::*;
use crate::{
    store::{EmbeddedStore, Op, Store as _},
    watch_cache::{Index, ResourceSpec, WatchCache},
};

struct Cluster {
    store: Arc<EmbeddedStore>,
    cache: Arc<WatchCache>,
    roles: Index<Roles>,
    _following: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Cluster {
    async fn new() -> Self {
        let store = Arc::new(EmbeddedStore::memory());
        let specs = RESOURCES.map(|r| ResourceSpec { prefix: r.prefix.into(), fields: None, read: None });
        let cache = WatchCache::load(store.clone(), specs).await.expect("is empty");
        let following = tokio::spawn(cache.clone().run(tokio_util::sync::CancellationToken::new()));
        let roles = Index::new(&cache, &RESOURCES);
        Self { store, cache, roles, _following: following }
    }

    /// Makes objects; they must not be there yet.
    async fn make(&self, resource: BuiltIn, objects: impl IntoIterator<Item = (String, Value)>) {
        for (key, mut object) in objects {
            object["metadata"] = json!({"name": key.rsplit('/').next()});
            let op = Op::create(format!("{}{key}", resource.prefix), object.to_string());
            self.store.commit(vec![op]).await.expect("is made");
        }
        self.cache.fresh().await.expect("follows");
    }

    async fn remove(&self, resource: BuiltIn, key: &str) {
        let key = format!("{}{key}", resource.prefix);
        let found = self.store.get(&key).await.expect("answers").expect("is there");
        let op = Op { key, expect: crate::store::Expect::Revision(found.revision), value: None };
        self.store.commit(vec![op]).await.expect("is removed");
        self.cache.fresh().await.expect("follows");
    }

    fn told(&self, user: &User, namespace: &str, resource: &str) -> Result<String, String> {
        let action = Action::Resource {
            verb: "get",
            group: "",
            resource,
            subresource: "",
            namespace,
            name: "x",
            fields: None,
        };
        self.roles.read().allow(user, &action).map_err(String::from)
    }
}

fn user(name: &str, groups: &[&str]) -> User {
    User { name: name.into(), groups: groups.iter().map(|g| (*g).to_owned()).collect(), ..User::default() }
}

fn role(resource: &str) -> Value {
    json!({"rules": [{"apiGroups": [""], "resources": [resource], "verbs": ["get"]}]})
}

fn binding(kind: &str, role: &str, subjects: Value) -> Value {
    json!({"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role}, "subjects": subjects})
}

#[tokio::test]
async fn whoever_is_bound_may_and_is_told_by_what() {
    let cluster = Cluster::new().await;
    let subject = |kind: &str, name: &str| json!({"kind": kind, "name": name});
    cluster.make(CLUSTER_ROLES, [("pods".to_owned(), role("pods"))]).await;
    cluster.make(ROLES, [("a/maps".to_owned(), role("configmaps"))]).await;
    let to = json!([subject("User", "eve"), subject("Group", "dev")]);
    cluster.make(CLUSTER_ROLE_BINDINGS, [("all".to_owned(), binding("ClusterRole", "pods", to))]).await;
    let to = json!([subject("ServiceAccount", "bot"), {"kind": "ServiceAccount", "name": "bot", "namespace": "b"}]);
    let bindings = [
        ("a/maps".to_owned(), binding("Role", "maps", to.clone())),
        ("a/lost".to_owned(), binding("Role", "none", to.clone())),
        ("a/gone".to_owned(), binding("ClusterRole", "none", to)),
    ];
    cluster.make(ROLE_BINDINGS, bindings).await;
    let jane = user("jane", &["ops", "dev"]);
    let (bot, other) = ("system:serviceaccount:a:bot", "system:serviceaccount:b:bot");
    let lost = r#"RBAC: [clusterrole.rbac.authorization.k8s.io "none" not found, role.rbac.authorization.k8s.io "none" not found]"#;
    for (user, namespace, resource, expected) in [
        (
            user("eve", &[]),
            "z",
            "pods",
            Ok(r#"ClusterRoleBinding "all" of ClusterRole "pods" to User "eve""#),
        ),
        (jane.clone(), "", "pods", Ok(r#"ClusterRoleBinding "all" of ClusterRole "pods" to Group "dev""#)),
        (jane.clone(), "a", "configmaps", Err("")),
        (user("dev", &["eve"]), "a", "pods", Err("")),
        (
            user(bot, &[]),
            "a",
            "configmaps",
            Ok(r#"RoleBinding "maps/a" of Role "maps" to ServiceAccount "bot/a""#),
        ),
        (
            user(other, &[]),
            "a",
            "configmaps",
            Ok(r#"RoleBinding "maps/a" of Role "maps" to ServiceAccount "bot/b""#),
        ),
        (user(bot, &[]), "a", "pods", Err(lost)),
        (user(bot, &[]), "b", "configmaps", Err("")),
        (user(bot, &[]), "", "configmaps", Err("")),
    ] {
        let expected = expected.map(|by| format!("RBAC: allowed by {by}")).map_err(str::to_owned);
        assert_eq!(cluster.told(&user, namespace, resource), expected, "{user:?} {namespace} {resource}");
    }
    // What changes counts at once.
    cluster.remove(CLUSTER_ROLE_BINDINGS, "all").await;
    cluster.remove(ROLES, "a/maps").await;
    assert_eq!(cluster.told(&jane, "", "pods"), Err(String::new()));
    assert!(cluster.told(&user(bot, &[]), "a", "configmaps").is_err());
    cluster.make(ROLES, [("a/maps".to_owned(), role("configmaps"))]).await;
    assert!(cluster.told(&user(bot, &[]), "a", "configmaps").is_ok());
    let roles = cluster.roles.read();
    let bot = user(bot, &["dev"]);
    let (rules, gone) = roles.of(&bot, "a");
    assert_eq!((rules.len(), format!("RBAC: {}", not_found(&gone, None)).as_str()), (1, lost));
}

#[tokio::test]
async fn a_decision_does_not_look_at_what_is_for_others() {
    let cluster = Cluster::new().await;
    let bindings = (0..3000).map(|i| {
        let to =
            json!([{"kind": "User", "name": format!("u{i}")}, {"kind": "Group", "name": format!("g{i}")}]);
        (format!("b{i}"), binding("ClusterRole", &format!("r{}", i % 1000), to))
    });
    cluster.make(CLUSTER_ROLES, (0..1000).map(|i| (format!("r{i}"), role("pods")))).await;
    // More than the history of changes holds.
    cluster.make(CLUSTER_ROLE_BINDINGS, bindings).await;
    let one = user("u7", &["g8", "system:authenticated"]);
    assert!(cluster.told(&one, "", "pods").is_ok());
    assert!(cluster.told(&one, "", "secrets").is_err());
    assert_eq!(cluster.roles.read().bindings(&one, "").count(), 2, "of three thousand");
}
