use super::*;

#[test]
fn strangers_may_ask_for_health_and_version_alone() {
    let bob = User { name: "bob".into(), ..User::default() };
    let nobody = User { groups: vec!["system:unauthenticated".into()], ..User::default() };
    let groups = vec![KUBELET_API_ADMIN.to_owned(), "system:authenticated".to_owned()];
    let server = User { name: "any".into(), groups, ..User::default() };
    let groups = vec!["system:masters".to_owned()];
    let masterly = User { name: KUBELET_CLIENT.into(), groups, ..User::default() };
    let pods = Action::Resource { verb: "get", group: "", resource: "pods", namespace: "a", name: "" };
    let path = |verb, path| Action::Path { verb, path };
    for (user, action, allowed) in [
        (&bob, pods, true),
        (&bob, path("get", "/livez"), true),
        (&bob, path("get", "/livez/etcd"), true),
        (&server, pods, false),
        (&server, path("get", "/api"), false),
        (&server, path("get", "/livez"), true),
        (&masterly, pods, false),
        (&nobody, pods, false),
        (&nobody, path("get", "/livez"), true),
        (&nobody, path("get", "/version/"), true),
        (&nobody, path("get", "/livez/"), false),
        (&nobody, path("get", "/livez/etcd"), false),
        (&nobody, path("post", "/version"), false),
    ] {
        assert_eq!(authorize(user, &action).allowed, allowed, "{user:?} {action:?}");
    }
    for user in [&nobody, &server, &masterly] {
        assert_eq!(rules(user, "a")["resourceRules"], json!([]));
    }
    assert_eq!(
        refusal(&bob, &pods),
        "User \"bob\" cannot get resource \"pods\" in API group \"\" in the namespace \"a\""
    );
}
