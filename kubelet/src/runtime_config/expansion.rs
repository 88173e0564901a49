//! `$(NAME)` in environments, commands, arguments and paths, within bounds: a variable that holds another one
//! twice, which holds a third one twice, would else grow with two to the power of their number. Corresponds to
//! upstream's `third_party/forked/golang/expansion`, which has no bounds.

use api::{Message, message};
use std::collections::HashMap;

/// The longest text that an expansion may grow to, in bytes. Linux starts no program with a word of 128 KiB.
pub const LONGEST: usize = 1 << 20;
/// What an environment, or a command with its arguments, may take as a whole, in bytes: as much as Linux
/// passes to a program.
pub const LARGEST: usize = 6 << 20;

/// Replaces `$(NAME)` by its value; unknown names stay as they are and `$$` is a dollar.
///
/// # Errors
/// When the text grows beyond [`LONGEST`].
pub fn expand<'v>(text: &str, value: impl Fn(&str) -> Option<&'v str>) -> Result<String, Message> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let name = rest.strip_prefix('(').and_then(|r| r.split_once(')'));
        match name {
            Some((name, after)) => {
                match value(name) {
                    Some(value) => out.push_str(value),
                    None => out.extend(["$(", name, ")"]),
                }
                rest = after;
            }
            None => out.push('$'),
        }
        if out.len() > LONGEST && out.len() > text.len() {
            return Err(message!("its variables make it longer than {LONGEST} bytes"));
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// Expands the words of a command line.
///
/// # Errors
/// A sentence, when one of them or all of them together grow too long.
pub fn expand_all<'v>(
    words: &[String],
    value: impl Fn(&str) -> Option<&'v str>,
) -> Result<Vec<String>, Message> {
    let mut size = 0;
    let expanded = words.iter().map(|word| {
        let word = expand(word, &value).map_err(|why| format!("a word of the command is too long: {why}"))?;
        size += word.len();
        if size > LARGEST {
            return Err(message!("the command takes more than {LARGEST} bytes"));
        }
        Ok(word)
    });
    expanded.collect()
}

/// Variables in the order in which they were first set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    set: Vec<(String, String)>,
    places: HashMap<String, usize>,
    size: usize,
}

impl Environment {
    /// Sets a variable, over the value that it had.
    ///
    /// # Errors
    /// A sentence, when all together become larger than [`LARGEST`].
    pub fn put(&mut self, name: &str, value: String) -> Result<(), Message> {
        self.size += value.len();
        match self.places.get(name) {
            Some(place) => {
                self.size -= self.set[*place].1.len();
                self.set[*place].1 = value;
            }
            None => {
                // An equals sign and a zero byte come with each.
                self.size += name.len() + 2;
                self.places.insert(name.to_owned(), self.set.len());
                self.set.push((name.to_owned(), value));
            }
        }
        if self.size > LARGEST {
            return Err(message!("the environment takes more than {LARGEST} bytes"));
        }
        Ok(())
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.places.get(name).map(|place| self.set[*place].1.as_str())
    }

    /// All variables.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.set.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

#[cfg(test)]
mod tests;
