use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    harness,
    store::{EmbeddedStore, Op, Store as _},
    watch_cache::ResourceSpec,
};

const NOW: i64 = 1_000_000_000;

/// A cache of an account, a pod, a secret and a node, all called `x`, of which one has a deletion timestamp.
async fn cache(deleted: BuiltIn, seconds_ago: i64) -> Arc<WatchCache> {
    let store = Arc::new(EmbeddedStore::memory());
    let all = [SERVICE_ACCOUNTS, PODS, SECRETS, NODES];
    for resource in all {
        let key = if resource == NODES { "x" } else { "ns/x" };
        let mut object = json!({"metadata": {"name": "x", "uid": "u"}});
        if resource == deleted {
            let end = Timestamp::from_second(NOW - seconds_ago).unwrap();
            object["metadata"]["deletionTimestamp"] = json!(end.to_string());
        }
        let create = Op::create(format!("{}{key}", resource.prefix), object.to_string());
        store.commit(vec![create]).await.unwrap();
    }
    cache_of(store, &all).await
}

/// What a store holds of some resources by now.
async fn cache_of(store: Arc<EmbeddedStore>, resources: &[BuiltIn]) -> Arc<WatchCache> {
    let spec = |resource: &BuiltIn| ResourceSpec { prefix: resource.prefix.into(), fields: None, read: None };
    let cache = WatchCache::load(store, resources.iter().map(spec)).await.unwrap();
    let following = cache.clone().run(CancellationToken::new());
    tokio::select! {
        _ended = following => unreachable!("nothing stops it"),
        fresh = cache.fresh() => drop(fresh.unwrap()),
    }
    cache
}

fn claims(to: &[BuiltIn], uid: &str) -> Claims {
    let object = |uid: &str| ObjectRef { name: "x".into(), uid: uid.into() };
    let bound = |resource: BuiltIn| to.contains(&resource).then(|| object(uid));
    Claims {
        aud: Vec::new(),
        exp: NOW,
        iat: NOW,
        iss: String::new(),
        jti: String::new(),
        nbf: NOW,
        sub: String::new(),
        bound: Bound {
            namespace: "ns".into(),
            serviceaccount: object(if to.is_empty() { uid } else { "u" }),
            pod: bound(PODS),
            secret: bound(SECRETS),
            node: bound(NODES),
            warnafter: None,
        },
    }
}

#[tokio::test]
async fn a_token_ends_with_what_it_is_bound_to_though_a_finalizer_holds_that() {
    let gone = Err("[invalid bearer token, service account token has been invalidated]");
    let no_account = Err("[invalid bearer token, service account ns/x has been deleted]");
    for (deleted, to, expected) in [
        (PODS, &[PODS, NODES][..], gone),
        (SECRETS, &[SECRETS], gone),
        (NODES, &[NODES], gone),
        (NODES, &[PODS, NODES], Ok(())),
        (PODS, &[SECRETS], Ok(())),
        (SERVICE_ACCOUNTS, &[], no_account),
        (SERVICE_ACCOUNTS, &[PODS], no_account),
    ] {
        let told = |result: Result<(), Refused>| result.map_err(|why| why.to_string());
        for (seconds_ago, expected) in [(-30, Ok(())), (0, Ok(())), (60, Ok(())), (61, expected)] {
            let cache = cache(deleted, seconds_ago).await;
            let found = told(check_bound(&claims(to, "u"), &cache, NOW));
            assert_eq!(found, expected.map_err(str::to_owned), "{deleted:?} {to:?} {seconds_ago}");
            if deleted == PODS || to.is_empty() {
                assert!(check_bound(&claims(to, "other"), &cache, NOW).is_err(), "another one");
            }
        }
    }
}

#[tokio::test]
async fn a_static_token_is_for_this_server_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = harness::config(folder.path());
    config.tokens.audiences = vec!["api".into(), "more".into()];
    let known = Authenticator::new(&config).unwrap();
    let cache = cache(PODS, 0).await;
    for (wanted, expected) in [
        (&[][..], Some(&["api", "more"][..])),
        (&["more", "vault"], Some(&["more"])),
        (&["vault"], None),
        (&["https://kubernetes.default.svc.cluster.local"], None),
    ] {
        let wanted: Vec<String> = wanted.iter().map(|audience| (*audience).to_owned()).collect();
        let found = known.review("jane", &wanted, &cache).await.ok();
        assert_eq!(
            found.map(|(user, meant)| (user.name, meant)),
            expected.map(|meant| {
                ("jane".to_owned(), meant.iter().map(|audience| (*audience).to_owned()).collect())
            })
        );
    }
}

#[tokio::test]
async fn bootstrap_tokens_are_taken_where_they_are_enabled() {
    use base64::{Engine as _, prelude::BASE64_STANDARD};

    let data = [
        ("token-id", "abcdef"),
        ("token-secret", "0123456789abcdef"),
        ("usage-bootstrap-authentication", "true"),
    ];
    let data: BTreeMap<_, _> =
        data.into_iter().map(|(key, value)| (key, BASE64_STANDARD.encode(value))).collect();
    let secret = json!({
        "metadata": {"name": "bootstrap-token-abcdef"},
        "type": "bootstrap.kubernetes.io/token",
        "data": data,
    });
    let store = Arc::new(EmbeddedStore::memory());
    let key = format!("{}kube-system/bootstrap-token-abcdef", SECRETS.prefix);
    store.commit(vec![Op::create(key, secret.to_string())]).await.unwrap();
    let cache = cache_of(store, &[SECRETS]).await;
    let folder = tempfile::tempdir().unwrap();
    for bootstrap in [true, false] {
        let config = Config { bootstrap_tokens: bootstrap, ..harness::config(folder.path()) };
        let known = Authenticator::new(&config).unwrap();
        let found = known.review("abcdef.0123456789abcdef", &[], &cache).await;
        let expected = bootstrap.then(|| "system:bootstrap:abcdef".to_owned());
        assert_eq!(found.ok().map(|(user, _)| user.name), expected);
        assert!(known.review("abcdef.0123456789abcdee", &[], &cache).await.is_err());
    }
}
