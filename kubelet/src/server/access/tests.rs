use super::*;

#[test]
fn only_the_api_server_and_masters_may_call() {
    let caller = |user: &str, groups: &[&str]| Subject {
        user: user.to_owned(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        ..Subject::default()
    };
    for (user, groups, may) in [
        ("kubernetes-admin", &["system:masters"][..], true),
        ("kube-apiserver-kubelet-client", &[], true),
        ("any", &["system:kubelet-api-admin"], true),
        ("system:node:node-1", &["system:nodes"], false),
        ("system:kube-scheduler", &[], false),
        ("jane", &["dev"], false),
        ("system:masters", &[], false),
    ] {
        assert_eq!(may_call(&caller(user, groups)), may, "{user}");
    }
}

#[test]
fn a_path_belongs_to_a_subresource() {
    for (path, expected) in [
        ("/metrics", "metrics"),
        ("/metrics/resource", "metrics"),
        ("/stats/summary", "stats"),
        ("/statsx", "proxy"),
        ("/pods", "proxy"),
    ] {
        assert_eq!(subresource(path), expected, "{path}");
    }
}
