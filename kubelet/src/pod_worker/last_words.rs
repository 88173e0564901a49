//! What a program left behind as its last words (`terminationMessagePath`), or the end of its log in their place.
//! Read from the file that the kubelet made for it and from nothing else that is mounted there.
//! Corresponds to upstream's `getTerminationMessage` and `readLastStringFromContainerLogs`.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use k8s_cri::v1::ContainerStatus;
use machinery::beneath::{Below, tail};

use crate::labels;
use crate::log_line;
use crate::runtime_config::names;
use crate::runtime_state::ContainerView;

/// The longest last words that are read, in bytes.
const WORDS: usize = 4096;
/// The most of a log that stands in for last words, in bytes and in lines.
const LOG: (usize, usize) = (2048, 80);
/// How much of a log is read for that: a longest line as runtimes cut them, and then the above with its marks.
const LOG_READ: usize = 32 * 1024;

/// Where they may lie.
pub(super) struct Places {
    /// Folder of all that the kubelet keeps.
    pub(super) root: PathBuf,
    /// Folder of the pods' logs.
    pub(super) logs: PathBuf,
}

/// Where a container's last words lie.
pub(super) struct LastWords {
    file: Option<io::Result<Below>>,
    log: Option<io::Result<Below>>,
}

impl LastWords {
    /// Those of a container of a pod that has ended.
    pub(super) fn of(places: &Places, uid: &str, ended: &ContainerView, status: &ContainerStatus) -> Self {
        let annotation = |key: &str| status.annotations.get(key).map(String::as_str).unwrap_or_default();
        let file = (!annotation(labels::TERMINATION_MESSAGE_PATH).is_empty()).then(|| {
            let dir = names::last_words_dir(&places.root, uid, &ended.name);
            Below::new(&places.root, &dir.join(ended.attempt.to_string()))
        });
        let failed = ended.exit_code != 0 && ended.reason != "ContainerCannotRun";
        let instead = annotation(labels::TERMINATION_MESSAGE_POLICY) == "FallbackToLogsOnError";
        let log = (failed && instead && !ended.log_path.is_empty())
            .then(|| Below::new(&places.logs, Path::new(&ended.log_path)));
        Self { file, log }
    }

    /// Reads them; what cannot be read is said instead.
    pub(super) fn read(self) -> String {
        let read = |place: io::Result<Below>, how: fn(&File) -> io::Result<Vec<u8>>| {
            let found = place.and_then(|place| place.open()).and_then(|file| how(&file));
            match found {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
                other => other,
            }
        };
        let words = match self.file.map(|file| read(file, |file| Ok(tail(file, WORDS)?.0))) {
            Some(Err(error)) => return format!("Error on reading termination log: {error}"),
            Some(Ok(words)) => words,
            None => Vec::new(),
        };
        let words = match self.log.filter(|_| words.is_empty()).map(|log| read(log, end_of_log)) {
            Some(Err(error)) => return format!("Error on reading termination message from logs: {error}"),
            Some(Ok(end)) => end,
            None => words,
        };
        String::from_utf8_lossy(&words).into_owned()
    }
}

/// The last lines of a container's log as its program wrote them, without the end of the last one.
fn end_of_log(file: &File) -> io::Result<Vec<u8>> {
    let (raw, cut) = tail(file, LOG_READ)?;
    let (most, most_lines) = LOG;
    let mut rest = raw.as_slice();
    if cut {
        // What begins in the middle of a line is read no further than to its end.
        let end = rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |end| end + 1);
        if end == rest.len() {
            let text = rest.strip_suffix(b"\n").unwrap_or(rest);
            return Ok(text[text.len().saturating_sub(most)..].to_vec());
        }
        rest = &rest[end..];
    }
    let lines: Vec<&[u8]> = rest.split_inclusive(|&byte| byte == b'\n').collect();
    let mut text = Vec::new();
    for raw in &lines[lines.len().saturating_sub(most_lines)..] {
        let Some(line) = log_line::parse(raw.strip_suffix(b"\n").unwrap_or(raw)) else { continue };
        text.extend_from_slice(line.text);
        if !line.partial {
            text.push(b'\n');
        }
    }
    if text.last() == Some(&b'\n') {
        text.pop();
    }
    Ok(text.split_off(text.len().saturating_sub(most)))
}

#[cfg(test)]
mod tests {
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
}
