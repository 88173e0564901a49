use super::*;

#[test]
fn access_fits_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let user = folder.path().join("user");
    std::fs::write(&user, "root:pass:word\n").unwrap();
    let store = |text: &str| text.parse::<StoreConfig>().unwrap();
    let access = |tls: bool, user_file: Option<&PathBuf>| EtcdAccess {
        ca_file: tls.then(|| "ca.pem".into()),
        identity: tls.then(|| ("a.pem".into(), "a.key".into())),
        user_file: user_file.cloned(),
    };
    let Ok(StoreConfig::Etcd(etcd)) = store("etcd:https://a:1").with_access(access(true, Some(&user))) else {
        panic!("an etcd");
    };
    assert_eq!(etcd.user, Some(("root".into(), "pass:word".into())));
    assert_eq!((etcd.ca_file, etcd.key_file), (Some("ca.pem".into()), Some("a.key".into())));
    let refused = |text: &str, access| store(text).with_access(access).err();
    assert_eq!(refused("memory", access(false, None)), None);
    assert_eq!(refused("memory", access(true, None)), Some(StoreConfigError::NoEtcd));
    assert_eq!(refused("file:/x", access(false, Some(&user))), Some(StoreConfigError::NoEtcd));
    assert_eq!(refused("etcd:http://a:1", access(true, None)), Some(StoreConfigError::NoTls));
    std::fs::write(&user, "nobody").unwrap();
    assert_eq!(
        refused("etcd:http://a:1", access(false, Some(&user))),
        Some(StoreConfigError::User(user.clone()))
    );
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
