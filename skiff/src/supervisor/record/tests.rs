use super::*;

#[test]
fn a_record_has_room_where_another_was() {
    let dir = tempfile::tempdir().expect("the test has a temporary folder");
    let path = dir.path().join("daemon.json");
    let this = i32::try_from(std::process::id()).expect("is a process number");
    let process = crate::processes::identity(this).expect("this process runs");
    for (before, after) in [(0, 1_000), (1_000, 7)] {
        Record::new(process, before).write(&path).expect("is written");
        let next = Record::new(process, after);
        overwrite(&path, serde_json::to_vec(&next).expect("is JSON")).expect("is written over");
        assert_eq!(read(&path), Some(next));
    }
    fs::remove_file(&path).expect("is there");
    overwrite(&path, Vec::new()).expect_err("nothing is there");
}
