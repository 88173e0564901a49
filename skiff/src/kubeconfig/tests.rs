#![allow(clippy::unwrap_used)]
use super::*;

fn identity(context: &str) -> Identity {
    Identity {
        context: context.into(),
        user: context.into(),
        server: "https://10.60.0.2:6443".into(),
        authority: "CA".into(),
        cert: "CERT".into(),
        key: "KEY".into(),
    }
}

#[test]
fn entries_of_others_stay() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kube/config");
    add(&path, &identity("skiff")).unwrap();
    let with_one = fs::read_to_string(&path).unwrap();
    add(&path, &identity("skiff-two")).unwrap();
    add(&path, &identity("skiff-two")).unwrap();
    let both: Value = serde_yaml_ng::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(both["current-context"], text("skiff-two"));
    for list in ["clusters", "users", "contexts"] {
        assert_eq!(both[list].as_sequence().unwrap().len(), 2, "{list}");
    }
    remove(&path, "skiff-two").unwrap();
    let after = fs::read_to_string(&path).unwrap();
    assert_eq!(after, with_one.replace("current-context: skiff\n", "current-context: ''\n"));
    remove(&path, "skiff-two").unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!dir.path().join("kube/config.lock").exists());
}

#[test]
fn what_a_person_set_in_the_context_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config");
    add(&path, &identity("skiff")).unwrap();
    let set =
        fs::read_to_string(&path).unwrap().replace("    user: skiff\n", "    user: x\n    namespace: shop\n");
    fs::write(&path, set).unwrap();
    add(&path, &identity("skiff")).unwrap();
    let file: Value = serde_yaml_ng::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let context = &file["contexts"][0]["context"];
    assert_eq!((&context["namespace"], &context["user"]), (&text("shop"), &text("skiff")));
}

#[test]
fn a_file_that_cannot_be_changed_is_found_before_it_has_to_be() {
    let dir = tempfile::tempdir().unwrap();
    let free = dir.path().join("kube/config");
    check(&free).unwrap();
    assert!(!free.exists() && fs::read_dir(dir.path().join("kube")).unwrap().next().is_none());
    fs::write(dir.path().join("kube/config.lock"), "").unwrap();
    assert!(check(&free).unwrap_err().to_string().contains("remove"));
    assert!(check(dir.path()).unwrap_err().to_string().contains("is no file"));
    let pipe = dir.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(check(&pipe).unwrap_err().to_string().contains("is no file"));
    fs::write(dir.path().join("file"), "").unwrap();
    assert!(check(&dir.path().join("file/config")).is_err());
}

#[test]
fn a_file_that_is_no_kubeconfig_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config");
    for content in ["- a\n- b\n", "{", "text"] {
        fs::write(&path, content).unwrap();
        assert!(check(&path).is_err(), "{content:?}");
        assert!(add(&path, &identity("skiff")).unwrap_err().to_string().contains("not a kubeconfig"));
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }
}

#[test]
fn the_file_is_the_one_kubectl_would_change() {
    let home = Path::new("/home/me");
    let cases: [(Option<&str>, Option<&str>, &str); 4] = [
        (Some("/x/config"), Some("/y"), "/x/config"),
        (None, Some(":/nowhere/a:/nowhere/b:"), "/nowhere/b"),
        (None, Some("/nowhere/a:/"), "/"),
        (None, None, "/home/me/.kube/config"),
    ];
    for (given, variable, expected) in cases {
        assert_eq!(path(given.map(Path::new), variable, Some(home)).unwrap(), Path::new(expected));
    }
    assert!(path(None, Some(""), None).is_err());
}
