use std::fs;
use std::os::unix::fs::symlink;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::*;

struct Ended {
    root: tempfile::TempDir,
    places: Places,
    view: ContainerView,
    status: ContainerStatus,
}

impl Ended {
    /// A container that failed, with a file for its last words and a log.
    fn new(policy: &str) -> Self {
        let root = tempfile::tempdir().expect("the test has a temporary folder");
        let places = Places { root: root.path().join("kubelet"), logs: root.path().join("logs") };
        let log = places.logs.join("pod/c/3.log");
        for dir in [names::last_words_dir(&places.root, "u", "c"), places.logs.join("pod/c")] {
            fs::create_dir_all(dir).expect("there is room");
        }
        let view = ContainerView {
            name: "c".to_owned(),
            attempt: 3,
            exit_code: 1,
            log_path: log.display().to_string(),
            ..ContainerView::default()
        };
        let annotations = [
            (labels::TERMINATION_MESSAGE_PATH, "/dev/termination-log"),
            (labels::TERMINATION_MESSAGE_POLICY, policy),
        ];
        let annotations = annotations.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        Self { root, places, view, status: ContainerStatus { annotations, ..ContainerStatus::default() } }
    }

    fn file(&self) -> PathBuf {
        names::last_words_dir(&self.places.root, "u", "c").join("3")
    }

    fn words(&self) -> String {
        LastWords::of(&self.places, "u", &self.view, &self.status).read()
    }

    fn log(&self, text: impl AsRef<[u8]>) {
        fs::write(&self.view.log_path, text).expect("there is room");
    }
}

#[test]
fn the_end_of_what_was_left_behind() {
    let ended = Ended::new("File");
    ended.log("2026-01-02T03:04:05Z stdout F of the log\n");
    assert_eq!(ended.words(), "");
    fs::write(ended.file(), "last\nwords\n").expect("there is room");
    assert_eq!(ended.words(), "last\nwords\n");
    fs::write(ended.file(), [&[b'a'; 10_000][..], b"end"].concat()).expect("there is room");
    assert_eq!(ended.words(), format!("{}end", "a".repeat(4093)));
}

#[test]
fn nothing_but_the_kubelets_own_file_is_read_and_nobody_waits_for_it() {
    let ended = Ended::new("FallbackToLogsOnError");
    let secret = ended.root.path().join("secret");
    fs::write(&secret, "a key").expect("there is room");
    symlink(&secret, ended.file()).expect("there is room");
    assert!(!ended.words().contains("a key"), "{}", ended.words());
    fs::remove_file(ended.file()).expect("it is there");
    mkfifo(&ended.file(), Mode::S_IRWXU).expect("there is room");
    assert_eq!(ended.words(), "Error on reading termination log: not a regular file");
    fs::remove_file(ended.file()).expect("it is there");

    symlink(&secret, &ended.view.log_path).expect("there is room");
    assert!(!ended.words().contains("a key"), "{}", ended.words());
    fs::remove_file(&ended.view.log_path).expect("it is there");
    mkfifo(Path::new(&ended.view.log_path), Mode::S_IRWXU).expect("there is room");
    assert_eq!(ended.words(), "Error on reading termination message from logs: not a regular file");
    fs::remove_file(&ended.view.log_path).expect("it is there");

    ended.log("2026-01-02T03:04:05Z stdout F a key\n");
    let moved = ended.root.path().join("moved");
    fs::rename(ended.places.logs.join("pod"), &moved).expect("there is room");
    symlink(&moved, ended.places.logs.join("pod")).expect("there is room");
    assert!(!ended.words().contains("a key"), "{}", ended.words());
}

#[test]
fn the_end_of_the_log_instead() {
    let raw = |tag: &str, text: &str| format!("2026-01-02T03:04:05.000000006Z stdout {tag} {text}\n");
    let mut ended = Ended::new("FallbackToLogsOnError");
    assert_eq!(ended.words(), "", "there is none");
    let many: String = (0..100).map(|number| raw("F", &number.to_string())).collect();
    let last: Vec<String> = (20..100).map(|number: i32| number.to_string()).collect();
    for (log, expected) in [
        (raw("P", "DONE"), "DONE".to_owned()),
        (raw("F", "DONE"), "DONE".to_owned()),
        (raw("F", "one") + &raw("P", "tw") + &raw("F", "o") + &raw("F", ""), "one\ntwo\n".to_owned()),
        (many, last.join("\n")),
        (raw("F", &"x".repeat(3000)), "x".repeat(2048)),
        // Lines as long as runtimes write them, so that what is read begins in the middle of one.
        (raw("F", &"z".repeat(60_000)), "z".repeat(2048)),
        (raw("P", &"y".repeat(16_000)).repeat(9) + &raw("F", "end"), "y".repeat(2045) + "end"),
    ] {
        ended.log(&log);
        assert_eq!(ended.words(), expected);
    }
    fs::write(ended.file(), "own words").expect("there is room");
    assert_eq!(ended.words(), "own words");
    fs::write(ended.file(), "").expect("there is room");
    ended.view.exit_code = 0;
    assert_eq!(ended.words(), "", "it did not fail");
}
