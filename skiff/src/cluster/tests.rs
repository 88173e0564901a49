#![allow(clippy::unwrap_used)]
use super::*;

#[test]
fn names_are_dns_labels_that_leave_room() {
    for good in ["skiff", "a", "two", "e2e-1", "abcdefghijklmnopqrstuvwx"] {
        assert!(check_name(good).is_ok(), "{good}");
    }
    for bad in ["", "Two", "2nd", "-a", "a-", "a_b", "a.b", "a/b", "../x", "abcdefghijklmnopqrstuvwxy"] {
        let refusal = check_name(bad).unwrap_err().to_string();
        assert!(refusal.contains("cannot be the name of a cluster"), "{bad}: {refusal}");
    }
}

#[test]
fn folders_must_leave_room_for_sockets() {
    assert!(
        check_dir(Path::new("/var/lib/skiff/abcdefghijklmnopqrstuvwxyz01"), "abcdefghijklmnopqrstuvwxyz01")
            .is_err()
    );
    assert!(check_dir(Path::new("/var/lib/skiff/two"), "two").is_ok());
    assert!(check_dir(Path::new("var/lib"), "two").is_err());
    assert!(check_dir(Path::new("/var/with blank"), "two").is_err());
    assert!(check_dir(&PathBuf::from(format!("/{}", "x".repeat(90))), "two").is_err());
}

#[test]
fn stores_are_read() {
    let cases: [(&str, Result<Store, &str>); 9] = [
        ("etcd", Ok(Store::Etcd)),
        ("file", Ok(Store::File(None))),
        ("file:/tmp/x.db", Ok(Store::File(Some("/tmp/x.db".into())))),
        ("memory", Ok(Store::Memory)),
        ("etcd:http://10.0.0.1:2379", Ok(Store::ExternalEtcd(vec!["http://10.0.0.1:2379".into()]))),
        (
            "etcd:10.0.0.1:2379,10.0.0.2:2379",
            Ok(Store::ExternalEtcd(vec!["http://10.0.0.1:2379".into(), "http://10.0.0.2:2379".into()])),
        ),
        ("etcd:http://127.0.0.1:2379", Err("loopback")),
        ("file:x.db", Err("absolute")),
        ("mysql", Err("expected etcd")),
    ];
    for (text, expected) in cases {
        match (text.parse::<Store>(), expected) {
            (Ok(store), Ok(wanted)) => assert_eq!(store, wanted, "{text}"),
            (Err(refusal), Err(part)) => assert!(refusal.contains(part), "{text}: {refusal}"),
            (got, wanted) => panic!("{text}: {got:?} instead of {wanted:?}"),
        }
    }
}

#[test]
fn registries_are_read() {
    let registry: Registry = "registry.local:5000=http://10.60.0.1:5000".parse().unwrap();
    assert_eq!(registry.host, "registry.local:5000");
    assert_eq!(registry.url, "http://10.60.0.1:5000");
    for bad in ["registry.local", "=http://x", "a/b=http://x", "a:1=ftp://x", "a:1=http://"] {
        assert!(bad.parse::<Registry>().is_err(), "{bad}");
    }
}

#[test]
fn a_damaged_description_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster { dir: dir.path().into(), ..sample(2) };
    cluster.save().unwrap();
    for damage in ["", "{", "{}"] {
        std::fs::write(Cluster::file_in(dir.path()), damage).unwrap();
        assert_eq!(Cluster::load(dir.path()).unwrap().as_ref(), Some(&cluster), "{damage:?}");
    }
    std::fs::write(Cluster::copy_in(dir.path()), "{").unwrap();
    assert!(Cluster::load(dir.path()).unwrap_err().to_string().contains("is damaged"));
}
