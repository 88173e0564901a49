use super::*;

#[test]
fn trees_as_containers_leave_them_are_removed() {
    let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let tree = root.path().join("tree");
    fs::create_dir(&tree).unwrap();
    let mut deep = Handle::open(&tree).unwrap();
    for _ in 0..20_000 {
        deep = deep.make_dir("d", 0o700).unwrap();
    }
    for _ in 0..2 {
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
    }
}

#[test]
fn private_folders_stay_private() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("a/pki");
    make_dir(&dir).unwrap();
    for _ in 0..2 {
        make_private_dir(&dir).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
