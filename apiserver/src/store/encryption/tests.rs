//! With values that kube-apiserver v1.36.2 wrote into etcd.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    harness::Server,
    store::{EmbeddedStore, StoreConfig},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

const CONFIG: &str = r#"
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [configmaps]
  providers:
  - aescbc: {keys: [{name: one, secret: c2VjcmV0IGlzIHNlY3VyZQ==}]}
  - identity: {}
- resources: [secrets]
  providers:
  - aesgcm: {keys: [{name: two, secret: dGhpcyBpcyBwYXNzd29yZAAAAAAAAAAA}]}
- resources: [endpoints]
  providers:
  - secretbox: {keys: [{name: three, secret: YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXoxMjM0NTY=}]}
"#;
const CBC: &str = "azhzOmVuYzphZXNjYmM6djE6b25lOmS18Q49S6gY927ooBpxsG6KPN1RP7f57CUnAnUv6i6i2/DNUaCQMEnsZeWmsMN3SLMU/Fm0sF70w7glNrEjkEQr9fRjUe3j2X8YjfekO/PMGUODIkjedHUJozPIZJ8LeTEo87hfk9ACnqGr1GNcrOWF73IeKhB1kS9hdn7oiEaxhQte4AHxOFrlO9WN1pjv0IeHxDD3YLIjjfBLKE+VP7dEOzv1SrpB5N2j7u7Ol6HAO9Y0oyBFH7WdsPgwJR3C1wixIPM2eN4pwSeK/TyRyBg=";
const GCM: &str = "azhzOmVuYzphZXNnY206djE6dHdvOhips9v/Qp+kVcHnuKR7ZcQs8nRFLv5r1YYXfYSnJEGMHNS66nQguvhLma9kPbA3DoNcHQPlKGc7OrMSo23ApAQH1VJodNJjTjTU9XuDkNmD9/zH7lrGQTBP7z4WEcJZDUMqk8yl6cmc+AyQaIzQVFB5Ctpjc/en/8V31eMJyw96Gu+QK8Cv97RMA3ioWNlVVhPS1HadzaJcgob7rE1nJSRkI/DWSU2bISurl19WpY4ZkxDnk+V1+w6mfH2Z6Fv4FcBQCBrxvhIqgiUHaf4yJl5XmopQy2q84bc/VW/ZgcSaUVOeja/EuPU=";
const BOX: &str = "azhzOmVuYzpzZWNyZXRib3g6djE6dGhyZWU60phMXspZSm1qZUUYQ94fgFIbNqt17xtiK0TYoEqI/3csGK7BM3vR5JFyoWVPC94HxFSLuZd2HqfBH4TDq67WDLWnTPvGVVnhJc2IXTgN7gayVkblqoVoTPs7jq0cVF05hbsaNDTOz8Mao5YukNpTJsuE87KEAyCSjMbrzxdWowOyOIDbbkboXKQy6h2B+w==";

fn rules(config: &str) -> Result<Rules, EncryptionError> {
    config::parse("encryption.yaml".as_ref(), config.as_bytes())
}

#[test]
fn values_of_upstream_are_read_and_ours_look_alike() {
    let rules = rules(CONFIG).unwrap();
    for (key, golden, prefix) in [
        ("/registry/configmaps/default/golden", CBC, "k8s:enc:aescbc:v1:one:"),
        ("/registry/secrets/default/golden", GCM, "k8s:enc:aesgcm:v1:two:"),
        ("/registry/endpoints/default/golden", BOX, "k8s:enc:secretbox:v1:three:"),
    ] {
        let golden = Bytes::from(STANDARD.decode(golden).unwrap());
        let (plain, stale) = rules.open(key, golden.clone()).unwrap();
        assert!(plain.starts_with(b"k8s\0") && !stale, "{key}");
        let ours = rules.seal(key, plain.clone()).unwrap();
        assert!(ours.starts_with(prefix.as_bytes()) && ours != golden && ours.len() == golden.len());
        assert_eq!(rules.open(key, ours).unwrap(), (plain, false));
        let mut torn = golden.to_vec();
        torn.truncate(golden.len() - 1);
        assert!(rules.open(key, torn.into()).is_err(), "{key}");
    }
    // Sealed for another key of the store.
    let moved = rules.open("/registry/secrets/default/other", STANDARD.decode(GCM).unwrap().into());
    assert!(moved.unwrap_err().to_string().contains("cipher: message authentication failed"));
    let plain = rules.open("/registry/secrets/default/golden", Bytes::from_static(b"{}"));
    assert!(plain.unwrap_err().to_string().contains("no matching prefix found"));
    assert!(rules.open("/registry/configmaps/default/a", Bytes::from_static(b"{}")).unwrap().1);
}

fn one(resources: &str, providers: &str) -> String {
    format!(
        "{{apiVersion: apiserver.config.k8s.io/v1, kind: EncryptionConfiguration, resources: [{{resources: {resources}, providers: {providers}}}]}}"
    )
}

#[test]
fn wrong_configurations_are_told_as_upstream_tells_them() {
    let key =
        |secret: &str| one("[secrets]", &format!("[{{aescbc: {{keys: [{{name: a, secret: {secret}}}]}}}}]"));
    for (config, said) in [
        (
            one("[]", "[identity: {}]"),
            "resources[0].resources: Required value: at least one resources[0].resources is required",
        ),
        (one("[secrets]", "[{}]"), "does not contain any of the expected providers"),
        (
            one("[secrets]", "[{kms: {name: a}}]"),
            "resources[0].providers[0].kms: Forbidden: KMS providers are not supported",
        ),
        (one("[secrets, '*.']", "[identity: {}]"), "will be masked"),
        (one("['*']", "[identity: {}]"), "use '*.' to encrypt"),
        (one("['a.*']", "[identity: {}]"), "across groups is not supported"),
        (one("[secrets]", "[{rot13: {}}]"), "error decoding encryption provider configuration file"),
        (
            key("YQ=="),
            "resources[0].providers[0].aescbc.keys[0].secret: Invalid value: \"REDACTED\": secret is not of the expected length, got 1, expected one of [16 24 32]",
        ),
        (key("'?'"), "secrets must be base64 encoded"),
    ] {
        let error = rules(&config).err().unwrap().to_string();
        assert!(error.contains(said), "{error}");
    }
    let masked = "{apiVersion: apiserver.config.k8s.io/v1, kind: EncryptionConfiguration, resources: [{resources: ['*.*'], providers: [identity: {}]}, {resources: [secrets], providers: [identity: {}]}]}";
    let error = rules(masked).err().unwrap().to_string();
    assert_eq!(error, r#"resource "secrets" is masked by earlier rule "*.*""#);
}

#[test]
fn the_most_special_rule_is_for_a_key() {
    let config = "{apiVersion: apiserver.config.k8s.io/v1, kind: EncryptionConfiguration, resources: [{resources: [secrets], providers: [identity: {}]}, {resources: ['*.apps', '*.'], providers: [identity: {}, identity: {}]}, {resources: ['*.*'], providers: [identity: {}, identity: {}, identity: {}]}]}";
    let rules = rules(config).unwrap();
    for (key, providers) in [
        ("/registry/secrets/a/b", 1),
        ("/registry/configmaps/a/b", 2),
        ("/registry/apps/deployments/a/b", 2),
        ("/registry/example.com/foos/a", 3),
        ("/registry/skiff/nodeports/1", 0),
    ] {
        assert_eq!(rules.of(key).len(), providers, "{key}");
    }
}

/// Secrets under these keys, the first one for what is written.
fn keys(names: &[&str]) -> String {
    let keys = names.iter().map(|n| format!("{{name: {n}, secret: {}}}", STANDARD.encode(n.repeat(16))));
    let keys = keys.collect::<Vec<_>>().join(", ");
    one("[secrets]", &format!("[{{secretbox: {{keys: [{keys}]}}}}, identity: {{}}]"))
}

#[tokio::test]
async fn a_store_shows_plain_values_and_keys_are_changed() {
    const KEY: &str = "/registry/secrets/a/b";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    std::fs::write(&file, keys(&["k1"])).unwrap();
    let inner: Arc<dyn Store> = Arc::new(EmbeddedStore::memory());
    let plain = Bytes::from_static(b"plain");
    let store = EncryptedStore::new(
        inner.clone(),
        Some(EncryptionConfig { file: file.clone(), reload: true }),
        Transformations::default(),
    )
    .unwrap();
    let now = store.revision().await.unwrap();
    let mut changes = store.watch("/registry/", now).await.unwrap();
    let Committed::Done(first) = store.commit(vec![Op::create(KEY, plain.clone())]).await.unwrap() else {
        panic!()
    };
    let raw = inner.get(KEY).await.unwrap().unwrap().value;
    assert!(raw.starts_with(b"k8s:enc:secretbox:v1:k1:"));
    assert_eq!(store.get(KEY).await.unwrap().unwrap().value, plain);
    assert_eq!(store.load("/registry/secrets/", None).await.unwrap().items[0].value, plain);
    let batch = loop {
        let batch = changes.next().await.unwrap().unwrap();
        if !batch.changes.is_empty() {
            break batch;
        }
    };
    assert!(matches!(&batch.changes[0], Change::Put { value, .. } if *value == plain));
    let again = store.commit(vec![Op::create(KEY, plain.clone())]).await.unwrap();
    assert!(matches!(again, Committed::Conflict { current: Some(found), .. } if found.value == plain));
    assert!(!store.is_stale(KEY).await.unwrap());

    std::fs::write(&file, keys(&["k2", "k1"])).unwrap();
    store.current.get_in(1);
    assert!(store.is_stale(KEY).await.unwrap());
    store.commit(vec![Op::update(KEY, first, plain.clone())]).await.unwrap();
    assert!(inner.get(KEY).await.unwrap().unwrap().value.starts_with(b"k8s:enc:secretbox:v1:k2:"));
    assert!(!store.is_stale(KEY).await.unwrap());

    // A wrong file leaves what is.
    std::fs::write(&file, "kind: Other").unwrap();
    store.current.get_in(2);
    assert_eq!(store.get(KEY).await.unwrap().unwrap().value, plain);
}

#[tokio::test]
async fn without_a_configuration_what_is_encrypted_is_told() {
    let inner: Arc<dyn Store> = Arc::new(EmbeddedStore::memory());
    let (plain, sealed) = ("/registry/secrets/a/plain", "/registry/secrets/a/sealed");
    let ops = vec![Op::create(plain, "{}"), Op::create(sealed, "k8s:enc:aescbc:v1:k:xyz")];
    inner.commit(ops).await.unwrap();
    let store = EncryptedStore::new(inner, None, Transformations::default()).unwrap();
    assert_eq!(store.get(plain).await.unwrap().unwrap().value, "{}");
    let why = store.get(sealed).await.unwrap_err().to_string();
    assert!(why.contains("identity transformer tried to read encrypted data"), "{why}");
    let items = store.load("/registry/secrets/", None).await.unwrap().items;
    assert_eq!(items.into_iter().map(|item| item.value).collect::<Vec<_>>(), ["{}", ""]);
}

#[tokio::test]
async fn a_server_encrypts_and_an_update_that_changes_nothing_writes_with_the_new_key() {
    const PATH: &str = "/api/v1/namespaces/default/secrets";
    let folder = tempfile::tempdir().unwrap();
    let (file, data) = (folder.path().join("config.yaml"), folder.path().join("store"));
    let start = async || {
        Server::start_with(|config| {
            config.store = StoreConfig::File(data.clone());
            config.encryption = Some(EncryptionConfig { file: file.clone(), reload: false });
        })
        .await
    };
    let stored = async || {
        let store = EmbeddedStore::open(&data).unwrap();
        store.get("/registry/secrets/default/a").await.unwrap().unwrap()
    };
    std::fs::write(&file, keys(&["k1"])).unwrap();
    let server = start().await;
    let secret = serde_json::json!({"metadata": {"name": "a"}, "data": {"x": "aGlkZGVu"}});
    assert_eq!(server.send("POST", PATH, &secret).await.code, 201);
    server.stop().await;
    let first = stored().await;
    assert!(first.value.starts_with(b"k8s:enc:secretbox:v1:k1:"));

    std::fs::write(&file, keys(&["k2", "k1"])).unwrap();
    let server = start().await;
    let path = format!("{PATH}/a");
    let found = server.get(&path).await.body;
    assert_eq!(found["data"]["x"], "aGlkZGVu");
    let written = server.send("PUT", &path, &found).await;
    assert_eq!(written.code, 200);
    assert_ne!(written.body["metadata"]["resourceVersion"], found["metadata"]["resourceVersion"]);
    // Now it is up to date.
    let again = server.send("PUT", &path, &written.body).await;
    assert_eq!(again.body["metadata"]["resourceVersion"], written.body["metadata"]["resourceVersion"]);
    server.stop().await;
    assert!(stored().await.value.starts_with(b"k8s:enc:secretbox:v1:k2:"));
}

#[tokio::test]
async fn a_value_of_a_lost_key_is_an_error_of_its_own() {
    const SECRETS: &str = "/api/v1/namespaces/default/secrets";
    const NO_KEY: &str = "no matching key was found for the provided Secretbox transformer";
    let folder = tempfile::tempdir().unwrap();
    let (file, data) = (folder.path().join("config.yaml"), folder.path().join("store"));
    let start = async |names: &[&str]| {
        std::fs::write(&file, keys(names)).unwrap();
        Server::start_with(|config| {
            config.store = StoreConfig::File(data.clone());
            config.encryption = Some(EncryptionConfig { file: file.clone(), reload: false });
        })
        .await
    };
    let secret = |name: &str| serde_json::json!({"metadata": {"name": name}});
    let server = start(&["k1"]).await;
    assert_eq!(server.send("POST", SECRETS, &secret("lost")).await.code, 201);
    server.stop().await;

    let server = start(&["k2"]).await;
    let nothing = serde_json::Value::Null;
    assert_eq!(server.send("POST", SECRETS, &secret("kept")).await.code, 201);
    let listed = format!("unable to transform key \"/registry/secrets/default/lost\": {NO_KEY}");
    for (method, path, body, why) in [
        ("GET", "/lost", &nothing, NO_KEY),
        ("PUT", "/lost", &secret("lost"), NO_KEY),
        ("PATCH", "/lost", &serde_json::json!({}), NO_KEY),
        ("DELETE", "/lost", &nothing, NO_KEY),
        ("GET", "", &nothing, &*listed),
        ("GET", "?watch=true", &nothing, &*listed),
        ("GET", "?watch=true&resourceVersion=1", &nothing, &*listed),
        ("DELETE", "", &nothing, &*listed),
    ] {
        let answer = server.send(method, &format!("{SECRETS}{path}"), body).await;
        assert_eq!(answer.code, 500, "{method} {path}: {}", answer.body);
        assert_eq!(answer.body["message"], format!("Internal error occurred: {why}"), "{method} {path}");
    }
    let metrics = server.get("/metrics").await.body;
    for (kind, status) in [("from_storage", "unknown-non-grpc"), ("to_storage", "OK")] {
        let name = "apiserver_storage_transformation_operations_total";
        let labels = format!(
            r#"resource="secrets",status="{status}",transformation_type="{kind}",transformer_prefix="k8s:enc:secretbox:v1:""#
        );
        assert!(metrics.as_str().unwrap().contains(&format!("{name}{{{labels}}} ")), "{labels}: {metrics}");
    }
    // All else is there.
    assert_eq!(server.get(&format!("{SECRETS}/kept")).await.code, 200);
    let one = server.get(&format!("{SECRETS}?fieldSelector=metadata.name%3Dkept")).await;
    assert_eq!(one.body["items"].as_array().map(Vec::len), Some(1), "{}", one.body);
    assert_eq!(server.get("/api/v1/namespaces/kube-system/secrets").await.code, 200);
    assert_eq!(server.get("/api/v1/pods").await.code, 200);
    server.stop().await;

    let server = start(&["k2", "k1"]).await;
    let all = server.get(SECRETS).await;
    assert_eq!(all.body["items"].as_array().map(Vec::len), Some(2), "{}", all.body);
    server.stop().await;
}

#[test]
fn every_kind_is_known_by_its_key() {
    let registry = crate::registry::Registry::builtin();
    for kind in registry.table().kinds() {
        let prefix = kind.storage_prefix();
        let parts: Vec<&str> = prefix.trim_matches('/').split('/').skip(1).collect();
        let wanted = match parts[..] {
            [resource] => ("", resource),
            [group, resource] => (group, resource),
            _ => panic!("{prefix}"),
        };
        assert_eq!(resource_of(&format!("{prefix}a/b")), Some(wanted), "{prefix}");
    }
}
