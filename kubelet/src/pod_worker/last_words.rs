//! What a program left behind as its last words (`terminationMessagePath`), or the end of its log in their place.
//! Read from the file that the kubelet made for it and from nothing else that is mounted there.
//! Corresponds to upstream's `getTerminationMessage` and `readLastStringFromContainerLogs`.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use machinery::beneath::{Below, tail};
use proto::cri::ContainerStatus;

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
mod tests;
