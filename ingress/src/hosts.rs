//! What is known by host names, of which `*.example.com` stands for one more label, and nothing for all.

use std::collections::HashMap;

/// Values by host.
#[derive(Debug)]
pub struct Hosts<T>(HashMap<String, T>);

impl<T> Default for Hosts<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T> Hosts<T> {
    /// What is said of the host itself, of the wildcard that it fits, and of all, in this order. The host is in small
    /// letters.
    pub fn fitting<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a T> {
        let wildcard = || host.split_once('.').and_then(|(_, parent)| self.0.get(&format!("*.{parent}")));
        let all = || (!host.is_empty()).then(|| self.0.get("")).flatten();
        let others = std::iter::once_with(wildcard).chain(std::iter::once_with(all));
        self.0.get(host).into_iter().chain(others.flatten())
    }

    /// What is said of a host as rules write it.
    pub fn get(&self, pattern: &str) -> Option<&T> {
        self.0.get(pattern)
    }

    /// The same, to be added to.
    pub fn entry(&mut self, pattern: &str) -> &mut T
    where
        T: Default,
    {
        self.0.entry(pattern.to_ascii_lowercase()).or_default()
    }

    /// Says something of a host.
    pub fn insert(&mut self, pattern: &str, value: T) {
        self.0.insert(pattern.to_ascii_lowercase(), value);
    }
}
