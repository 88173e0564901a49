use super::*;

impl Authorizer {
    /// One that knows no roles.
    pub fn deaf(mode: Mode) -> Self {
        Self {
            modes: vec![mode],
            roles: Index::over(Vec::new()),
            nodes: Index::over(Vec::new()),
            node_rules: Vec::new(),
        }
    }
}

#[test]
fn modes_decide_in_their_order_and_masters_may_do_everything() {
    let bob = User { name: "bob".into(), ..User::default() };
    let root = User { name: "root".into(), groups: vec![MASTERS.into()], ..User::default() };
    let nobody = User { name: ANONYMOUS.into(), ..User::default() };
    let pods = Action::Resource {
        verb: "get",
        group: "",
        resource: "pods",
        subresource: "log",
        namespace: "a",
        name: "p",
        fields: None,
    };
    let path = |verb, path| Action::Path { verb, path };
    let (allow, deny, roles) = (Mode::AlwaysAllow, Mode::AlwaysDeny, Mode::Rbac);
    for (modes, user, action, allowed, reason) in [
        (&[allow][..], &bob, pods, true, ""),
        (&[allow], &bob, path("get", "/livez/etcd"), true, ""),
        (&[allow], &nobody, pods, false, ""),
        (&[allow], &nobody, path("get", "/livez"), true, ""),
        (&[allow], &nobody, path("get", "/livez/"), false, ""),
        (&[allow], &nobody, path("post", "/version"), false, ""),
        (&[deny], &bob, path("get", "/livez"), false, "Everything is forbidden."),
        (&[deny, allow], &bob, pods, true, ""),
        (&[deny], &root, pods, true, ""),
        (&[roles], &root, pods, true, ""),
        (&[roles], &bob, pods, false, ""),
    ] {
        let authorizer = Authorizer { modes: modes.to_vec(), ..Authorizer::deaf(allow) };
        let expected = Decision { allowed, reason: reason.into() };
        assert_eq!(authorizer.authorize(user, &action), expected, "{modes:?} {user:?} {action:?}");
    }
    let refused = Authorizer::deaf(deny).permit(&bob, &pods).expect_err("nothing is allowed");
    assert_eq!(
        (refused.code, refused.message.as_str()),
        (
            403,
            "pods \"p\" is forbidden: User \"bob\" cannot get resource \"pods/log\" in API group \"\" in the namespace \"a\": Everything is forbidden."
        )
    );
}
