use super::*;

#[test]
fn host_paths_are_what_they_say() {
    let root = tempfile::tempdir().expect("the test has a temporary folder");
    let (dir, file, none) = (root.path().join("d"), root.path().join("f"), root.path().join("none"));
    let dangling = root.path().join("dangling");
    std::os::unix::fs::symlink(&none, &dangling).expect("there is room");
    assert!(check(&dir, "DirectoryOrCreate").is_ok() && dir.is_dir());
    assert!(check(&file, "FileOrCreate").is_ok() && file.is_file());
    for (path, kind, words) in [
        (&none, "Directory", "directory"),
        (&file, "Directory", "directory"),
        (&file, "DirectoryOrCreate", "directory"),
        (&dir, "File", "file"),
        (&file, "Socket", "socket file"),
        (&file, "CharDevice", "character device"),
        (&file, "BlockDevice", "block device"),
        (&dangling, "FileOrCreate", "file"),
    ] {
        let refusal = format!("hostPath type check failed: {} is not a {words}", path.display());
        assert_eq!(check(path, kind).map_err(|error| error.to_string()), Err(refusal));
    }
    check(&none, "").expect("nothing is asked for");
    assert!(!none.exists(), "a link is not followed to make a file");
    check(Path::new("/dev/null"), "CharDevice").expect("it is one");
}
