use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use k8s_openapi::api::certificates::v1beta1::ClusterTrustBundle;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};
use kube::Api;
use kube::api::PostParams;
use machinery::tasks::Tasks;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

/// Makes an object in the API.
async fn make<K>(client: &kube::Client, object: Value) -> K
where
    K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    K: Clone + std::fmt::Debug + serde::Serialize + DeserializeOwned,
{
    let object = serde_json::from_value(object).expect("the test's object is well-formed");
    let api = Api::<K>::namespaced(client.clone(), "default");
    api.create(&PostParams::default(), &object).await.expect("the API takes it")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_made_from_all_that_the_api_has() {
    let (tasks, dir) = (Tasks::new(), tempfile::tempdir().expect("the test has a temporary folder"));
    let signer = machinery::pki::Authority::new("tokens").expect("there are numbers enough");
    signer.save(&dir.path().join("sa.crt"), &dir.path().join("sa.key")).expect("there is room");
    let kubeconfig = lab::api_server(dir.path(), &tasks).await;
    let client = machinery::client::connect(&kubeconfig, "test").expect("the file is well-formed");
    assert!(machinery::client::wait_ready(&client, &tasks.token()).await);
    let _: ServiceAccount = make(&client, json!({"metadata": {"name": "robot"}})).await;
    let _: ConfigMap = make(&client, json!({"metadata": {"name": "m"}, "data": {"a": "1", "b": "2"}})).await;
    let _: Secret =
        make(&client, json!({"metadata": {"name": "s"}, "data": {"k": STANDARD.encode("hidden")}})).await;
    let keys = json!([{"key": "a", "path": "x/a", "mode": 0o400}, {"key": "b", "path": "b"}]);
    let downward = json!([{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}},
        {"path": "cpu", "mode": 0o444, "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu"}}]);
    let some = json!([{"key": "k", "path": "key"}, {"key": "none", "path": "none"}]);
    let token = json!({"audience": "somebody", "expirationSeconds": 700, "path": "token"});
    let spec = json!({
        "serviceAccountName": "robot",
        "containers": [{"name": "c", "image": "i:1", "resources": {"limits": {"cpu": "2"}}}],
        "volumes": [
            {"name": "map", "configMap": {"name": "m", "defaultMode": 0o440, "items": keys}},
            {"name": "no-map", "configMap": {"name": "none", "optional": true}},
            {"name": "secret", "secret": {"secretName": "s", "defaultMode": 0o400, "items": some, "optional": true}},
            {"name": "downward", "downwardAPI": {"defaultMode": 0o600, "items": downward}},
            {"name": "all", "projected": {"defaultMode": 0o640, "sources": [
                {"configMap": {"name": "m", "items": keys}}, {"secret": {"name": "s"}},
                {"configMap": {"name": "none", "optional": true}}, {"secret": {"name": "none", "optional": true}},
                {"downwardAPI": {"items": downward}}, {"serviceAccountToken": token},
            ]}},
        ],
    });
    let pod: Pod = make(&client, json!({"metadata": {"name": "p"}, "spec": spec})).await;
    let mut still = spec.clone();
    still["automountServiceAccountToken"] = json!(false);
    let still: Pod = make(&client, json!({"metadata": {"name": "still"}, "spec": still})).await;
    let volumes = |pod: &Pod| pod_spec::spec(pod).volumes.clone().unwrap_or_default();
    assert_eq!(
        (volumes(&pod).len(), volumes(&still).len()),
        (6, 5),
        "the API adds a token, unless it is told not to"
    );
    assert_eq!(pod_spec::spec(&pod).service_account.as_deref(), Some("robot"));

    let (objects, node) = (Objects::new(client), NodeFacts::default());
    let mut found = BTreeMap::new();
    for volume in volumes(&still) {
        let source = projected(&volume).expect("its files follow the API");
        let files = collect(&objects, &still, &source, &node, Duration::ZERO)
            .await
            .expect("all that is needed is there");
        for (path, file) in files {
            let place = format!("{}/{path}", volume.name);
            found.insert(place, (String::from_utf8_lossy(&file.bytes).into_owned(), file.mode));
        }
    }
    let (jwt, mode) = found.remove("all/token").expect("it was asked for");
    assert_eq!(mode, 0o640);
    let claims =
        jwt.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok()).expect("it is a token");
    let claims: Value = serde_json::from_slice(&claims).expect("they are JSON");
    assert_eq!(claims["sub"], "system:serviceaccount:default:robot");
    assert_eq!(claims["aud"], json!(["somebody"]));
    assert_eq!(claims["exp"].as_i64().zip(claims["iat"].as_i64()).map(|(exp, iat)| exp - iat), Some(700));
    let files: Vec<(&str, &str, u32)> =
        found.iter().map(|(place, (text, mode))| (place.as_str(), text.as_str(), *mode)).collect();
    let expected = [
        ("all/b", "2", 0o640),
        ("all/cpu", "2", 0o444),
        ("all/k", "hidden", 0o640),
        ("all/name", "still", 0o640),
        ("all/x/a", "1", 0o400),
        ("downward/cpu", "2", 0o444),
        ("downward/name", "still", 0o600),
        ("map/b", "2", 0o440),
        ("map/x/a", "1", 0o400),
        ("secret/key", "hidden", 0o400),
    ];
    assert_eq!(files, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trust_is_given_by_bundles_and_each_authority_once() {
    let lab = lab::Lab::bare_with(&["--runtime-config=certificates.k8s.io/v1beta1=true"]).await;
    let [one, other] = ["one", "other"]
        .map(|name| pki::Authority::new(name).expect("there are numbers enough").cert_pem().to_owned());
    for (name, signer, labels, pem) in [
        ("plain", None, json!({}), format!("# of nobody\n{one}")),
        ("a.test:s:a", Some("a.test/s"), json!({"live": "yes"}), format!("{one}{other}")),
        ("a.test:s:b", Some("a.test/s"), json!({"live": "yes"}), other.clone()),
        ("a.test:s:c", Some("a.test/s"), json!({}), one.clone()),
    ] {
        let object = json!({"metadata": {"name": name, "labels": labels},
            "spec": {"signerName": signer, "trustBundle": pem}});
        let object: ClusterTrustBundle = serde_json::from_value(object).expect("it is well-formed");
        let api = Api::all(lab.client.clone());
        api.create(&PostParams::default(), &object).await.expect("the API takes it");
    }
    let objects = Objects::new(lab.client.clone());
    let found = async |wanted: Value| {
        let wanted = serde_json::from_value(wanted).expect("it is well-formed");
        trust_anchors(&objects, &wanted, Duration::ZERO).await.map_err(|why| why.to_string())
    };
    let live = json!({"matchLabels": {"live": "yes"}});
    let both = {
        let mut both = [&one, &other].map(|pem| pki::blocks(pem.as_bytes()).next());
        both.sort();
        both.map(|anchor| pki::pem("CERTIFICATE", &anchor.expect("it is one"))).concat()
    };
    let none = "combination of signerName and labelSelector matched zero ClusterTrustBundles";
    let missing = "clustertrustbundle.certificates.k8s.io \"x\" not found";
    for (wanted, expected) in [
        (json!({"name": "plain", "path": "p"}), Ok(one.clone())),
        (json!({"signerName": "a.test/s", "labelSelector": live, "path": "p"}), Ok(both.clone())),
        (json!({"signerName": "a.test/s", "labelSelector": {}, "path": "p"}), Ok(both.clone())),
        // Without a selector nothing is selected.
        (json!({"signerName": "a.test/s", "path": "p"}), Err(none.to_owned())),
        (json!({"signerName": "b.test/s", "labelSelector": {}, "path": "p"}), Err(none.to_owned())),
        (json!({"name": "x", "path": "p"}), Err(missing.to_owned())),
        (json!({"name": "x", "path": "p", "optional": true}), Ok(String::new())),
    ] {
        assert_eq!(found(wanted.clone()).await, expected, "{wanted}");
    }
    let pod = json!({"metadata": {"name": "p", "uid": "u"}, "spec": {"containers": [],
        "securityContext": {"fsGroup": 1}}});
    let pod = serde_json::from_value(pod).expect("it is well-formed");
    let source = json!({"sources": [{"clusterTrustBundle": {"name": "plain", "path": "tls/ca.crt"}}]});
    let source = serde_json::from_value(source).expect("it is well-formed");
    let files = collect(&objects, &pod, &source, &NodeFacts::default(), Duration::from_secs(60)).await;
    let file = &files.expect("it is there")["tls/ca.crt"];
    assert_eq!((&*file.bytes, file.mode), (one.as_bytes(), 0o600));
}

fn picked(items: &[(&str, &str, Option<i32>)], optional: bool) -> Result<Vec<(String, u32)>, String> {
    let data = BTreeMap::from([("a", b"1".as_slice()), ("b", b"2".as_slice())]);
    let items: Vec<KeyToPath> = items
        .iter()
        .map(|(key, path, mode)| KeyToPath { key: (*key).to_owned(), path: (*path).to_owned(), mode: *mode })
        .collect();
    let mut collected = Collected::default();
    select(&data, Some(&items), "config", optional, 0o644, &mut collected)?;
    Ok(collected.files.into_iter().map(|(path, file)| (path, file.mode)).collect())
}

#[test]
fn tokens_are_for_those_who_need_them() {
    let access = |context: serde_json::Value, own: serde_json::Value| {
        let container = |own| serde_json::json!({"name": "c", "securityContext": own});
        let containers = [container(serde_json::json!({})), container(own)];
        let pod = serde_json::json!({"spec": {"securityContext": context, "containers": containers}});
        token_access(&serde_json::from_value(pod).expect("the test's pod is one"), 0o644)
    };
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("it is JSON");
    for (context, own, expected) in [
        ("{}", "{}", (0o644, None)),
        (r#"{"runAsUser": 1000}"#, "{}", (0o600, Some(1000))),
        (r#"{"runAsUser": 1000}"#, r#"{"runAsUser": 1}"#, (0o644, None)),
        ("{}", r#"{"runAsUser": 1}"#, (0o644, None)),
        (r#"{"fsGroup": 2000}"#, "{}", (0o600, None)),
    ] {
        assert_eq!(access(json(context), json(own)), expected, "{context} {own}");
    }
}

#[test]
fn keys_modes_and_paths() {
    let all = |names: &[(&str, u32)]| Ok(names.iter().map(|(n, m)| ((*n).to_owned(), *m)).collect());
    assert_eq!(picked(&[], false), all(&[("a", 0o644), ("b", 0o644)]));
    assert_eq!(picked(&[("a", "x/y", Some(0o400))], false), all(&[("x/y", 0o400)]));
    assert_eq!(picked(&[("c", "x", None)], true), all(&[]));
    assert_eq!(picked(&[("c", "x", None)], false), Err("references non-existent config key: c".to_owned()));
    for path in ["../x", "/x", "x/../y", "..x", ""] {
        assert!(picked(&[("a", path, None)], false).is_err(), "{path}");
    }
}

#[test]
fn a_key_under_many_names_is_held_once_and_a_volume_is_no_larger_than_it_may_be() {
    let large = vec![0; MOST_BYTES / 100];
    let data = BTreeMap::from([("a", large.as_slice())]);
    let named = |count: usize| {
        let item = |number| KeyToPath { key: "a".to_owned(), path: format!("{number}"), mode: None };
        let items: Vec<KeyToPath> = (0..count).map(item).collect();
        let mut collected = Collected::default();
        select(&data, Some(&items), "config", false, 0o644, &mut collected).map(|()| collected.files)
    };
    let files = named(100).expect("they fit");
    let places: std::collections::BTreeSet<_> = files.values().map(|file| file.bytes.as_ptr()).collect();
    assert_eq!((files.len(), places.len()), (100, 1));
    assert_eq!(
        named(101).err(),
        Some(api::message!("the files of the volume hold more than {MOST_BYTES} bytes"))
    );
}
