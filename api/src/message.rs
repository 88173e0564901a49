//! The error of which nothing but the words matters.

use std::{fmt, ops::Deref};

/// What is wrong, in the words that users are shown: upstream's, where it has some. They go as they are into a field
/// error, a condition, an event or a `Status`, and nobody tells one case from another; where somebody does, the error is
/// an enum.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{0}")]
pub struct Message(String);

impl Message {
    /// The words of another error.
    pub fn of(error: impl fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// A [`Message`], as `format!` makes a text.
#[macro_export]
macro_rules! message {
    ($($words:tt)*) => {
        $crate::Message::from(format!($($words)*))
    };
}

impl From<String> for Message {
    fn from(words: String) -> Self {
        Self(words)
    }
}

impl From<&str> for Message {
    fn from(words: &str) -> Self {
        Self(words.to_owned())
    }
}

impl From<Message> for String {
    fn from(message: Message) -> Self {
        message.0
    }
}

impl Deref for Message {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<&str> for Message {
    fn eq(&self, words: &&str) -> bool {
        self.0 == *words
    }
}

impl PartialEq<String> for Message {
    fn eq(&self, words: &String) -> bool {
        self.0 == *words
    }
}
