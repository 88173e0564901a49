use super::*;

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
