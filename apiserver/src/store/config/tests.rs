use super::*;

#[test]
fn access_fits_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let user = folder.path().join("user");
    std::fs::write(&user, "root:pass:word\n").unwrap();
    let store = |text: &str| text.parse::<StoreConfig>().unwrap();
    let with = |text: &str, tls: bool, user_file: Option<&PathBuf>| {
        let identity = tls.then(|| ("a.pem".into(), "a.key".into()));
        store(text).with_access(tls.then(|| "ca.pem".into()), identity, user_file.cloned())
    };
    let Ok(StoreConfig::Etcd(etcd)) = with("etcd:https://a:1", true, Some(&user)) else {
        panic!("an etcd");
    };
    assert_eq!(etcd.user, Some(("root".into(), "pass:word".into())));
    assert_eq!((etcd.ca_file, etcd.key_file), (Some("ca.pem".into()), Some("a.key".into())));
    assert_eq!(with("memory", false, None), Ok(StoreConfig::Memory));
    assert_eq!(with("memory", true, None), Err(StoreConfigError::NoEtcd));
    assert_eq!(with("file:/x", false, Some(&user)), Err(StoreConfigError::NoEtcd));
    assert_eq!(with("etcd:http://a:1", true, None), Err(StoreConfigError::NoTls));
    std::fs::write(&user, "nobody").unwrap();
    assert_eq!(with("etcd:http://a:1", false, Some(&user)), Err(StoreConfigError::User(user.clone())));
}

#[test]
fn reads_what_names_a_store() {
    let etcd = |endpoints: &[&str]| {
        let endpoints = endpoints.iter().map(|e| (*e).to_owned()).collect();
        Ok(StoreConfig::Etcd(EtcdConfig { endpoints, ..EtcdConfig::default() }))
    };
    let unknown = |text: &str| Err(StoreConfigError::Unknown(text.into()));
    let endpoint = |text: &str| Err(StoreConfigError::Endpoint(text.into()));
    for (text, expected) in [
        ("memory", Ok(StoreConfig::Memory)),
        ("file:/var/lib/x", Ok(StoreConfig::File("/var/lib/x".into()))),
        ("etcd:http://127.0.0.1:2379/", etcd(&["http://127.0.0.1:2379"])),
        ("etcd:https://a:1,https://b:2", etcd(&["https://a:1", "https://b:2"])),
        ("etcd:unix:///run/a,b:2379", etcd(&["unix:///run/a,b:2379"])),
        ("etcd:unix://run/a", endpoint("unix://run/a")),
        ("etcd:http://a:1,https://b:2", Err(StoreConfigError::MixedSchemes)),
        ("etcd:127.0.0.1:2379", endpoint("127.0.0.1:2379")),
        ("etcd:http://a:1,", endpoint("")),
        ("etcd:http://a:1/x", endpoint("http://a:1/x")),
        ("etcd:", unknown("etcd:")),
        ("file:", unknown("file:")),
        ("memory:", unknown("memory:")),
        ("", unknown("")),
    ] {
        assert_eq!(text.parse::<StoreConfig>(), expected, "{text}");
    }
}
