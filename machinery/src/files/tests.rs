use super::*;

#[test]
fn a_file_is_replaced_with_its_mode_and_nothing_stays_of_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    for (content, mode) in [("one", 0o644), ("two", 0o600), ("three", 0o666)] {
        replace(&path, content.as_bytes(), mode).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
    }
    replace_durably(&path, b"four", 0o600).unwrap();
    fs::create_dir(dir.path().join("folder")).unwrap();
    replace(&dir.path().join("folder"), b"five", 0o600).unwrap_err();
    assert_eq!(replace(Path::new("/"), b"", 0o600).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "no draft is left");
}
