//! Texts of which only the beginning is kept.

use std::{fmt, io};

/// What follows a beginning.
const MORE: &str = "...";

/// Takes what is written to it until it is full, and is an error from then on, so that its writer stops.
#[derive(Debug)]
pub struct Shown {
    text: Vec<u8>,
    room: usize,
    is_cut: bool,
}

impl Shown {
    /// Takes `room` bytes.
    pub fn new(room: usize) -> Self {
        Self { text: Vec::new(), room, is_cut: false }
    }

    /// Whether all of it fit.
    fn take(&mut self, bytes: &[u8]) -> bool {
        let taken = bytes.len().min(self.room);
        self.text.extend_from_slice(&bytes[..taken]);
        self.room -= taken;
        self.is_cut |= taken < bytes.len();
        !self.is_cut
    }
}

impl fmt::Write for Shown {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.take(text.as_bytes()) { Ok(()) } else { Err(fmt::Error) }
    }
}

impl io::Write for Shown {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.take(bytes) { Ok(bytes.len()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl From<Shown> for String {
    fn from(mut shown: Shown) -> Self {
        // No character is cut in two.
        let whole = shown.text.utf8_chunks().next().map_or(0, |chunk| chunk.valid().len());
        shown.text.truncate(whole);
        let mut text = String::from_utf8(shown.text).unwrap_or_default();
        if shown.is_cut {
            text.push_str(MORE);
        }
        text
    }
}

/// A text, or its beginning and three dots where it is longer than `most` bytes.
pub fn cut(text: &str, most: usize) -> String {
    let mut shown = Shown::new(most);
    shown.take(text.as_bytes());
    shown.into()
}
