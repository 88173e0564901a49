use super::*;

#[test]
fn last_words_have_a_file_of_the_kubelets_own() {
    let root = tempfile::tempdir().expect("the test has a temporary folder");
    let file = file_for_last_words(&root.path().join("words"), 0).expect("there is room");
    let mounts = [mount("/dev/log/", &file), mount("/dev/dir", root.path())];
    for (path, place) in [
        ("/dev/termination-log", Some("/dev/termination-log")),
        ("words", Some("/words")),
        ("/dev/log", Some("/dev/log")),
        ("/dev/dir", None),
        ("", None),
    ] {
        assert_eq!(place_of_last_words(path, &mounts).as_deref(), place, "{path}");
    }
    std::fs::write(&file, "words of a try that failed").expect("it is there");
    let again = file_for_last_words(&root.path().join("words"), 0).expect("there is room");
    assert_eq!(std::fs::read_to_string(again).expect("it is there"), "");
}
