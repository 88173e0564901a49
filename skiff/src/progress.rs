//! Steps as they are done, each with the time it took.

use std::io::{IsTerminal, Write};
use std::time::Instant;

/// Tells a person what is going on, on standard error.
pub struct Progress {
    began: Instant,
    terminal: bool,
}

impl Default for Progress {
    fn default() -> Self {
        Progress { began: Instant::now(), terminal: std::io::stderr().is_terminal() }
    }
}

impl Progress {
    fn say(&self, line: &str) {
        // Nobody may be listening; the work goes on.
        let _ = write!(std::io::stderr(), "{line}");
    }

    /// Shows that something begins; on a terminal the line is replaced when it is done.
    pub fn begin<'a>(&'a self, what: &'a str) -> Step<'a> {
        if self.terminal {
            self.say(&format!(" \u{2022} {what} …"));
        }
        Step { progress: self, what, began: Instant::now(), done: false }
    }

    /// Seconds since the beginning.
    pub fn elapsed(&self) -> f32 {
        self.began.elapsed().as_secs_f32()
    }
}

/// Something that has begun.
pub struct Step<'a> {
    progress: &'a Progress,
    what: &'a str,
    began: Instant,
    done: bool,
}

impl Step<'_> {
    /// Shows that it is done.
    pub fn done(mut self) {
        self.done = true;
        let back = if self.progress.terminal { "\r\x1b[K" } else { "" };
        let seconds = self.began.elapsed().as_secs_f32();
        self.progress.say(&format!("{back} \u{2713} {:<42} {seconds:5.2} s\n", self.what));
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        // It failed: what went wrong is said on a line of its own.
        if self.progress.terminal && !self.done {
            self.progress.say("\n");
        }
    }
}
