//! A table of nftables, and the text that turns one state of it into another.
//!
//! The table is ours alone, so nothing that others write stands before it or is disturbed by it. What `nft` is given is
//! one transaction: packets never meet half of a change. Verdict maps are sets whose elements say where to go.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The table's name.
pub const NAME: &str = "skiff-policies";

/// The text that takes the table away, be it there or not.
pub const REMOVE: &str = "add table ip skiff-policies\ndelete table ip skiff-policies\n";

/// A set or verdict map.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Set {
    /// `set` or `map`, and what it is made of.
    pub kind: (&'static str, &'static str),
    /// What is in it.
    pub elements: BTreeSet<String>,
}

/// A chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain {
    /// Where packets enter it from; nothing when only other chains lead here.
    pub hook: &'static str,
    /// Its rules.
    pub rules: Vec<String>,
}

/// What is in the table. Without chains there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// Sets and maps by name.
    pub sets: BTreeMap<String, Set>,
    /// Chains by name.
    pub chains: BTreeMap<String, Chain>,
}

impl Table {
    /// The text that leads from whatever is there to this.
    pub fn replace(&self) -> String {
        let all = if self.chains.is_empty() { None } else { self.update_from(&Table::default()) };
        REMOVE.to_owned() + &all.unwrap_or_default()
    }

    /// The text that leads from what we wrote last to this; none when nothing differs.
    pub fn update_from(&self, last: &Table) -> Option<String> {
        if self == last {
            return None;
        }
        if self.chains.is_empty() {
            return Some(REMOVE.to_owned());
        }
        let mut text = format!("add table ip {NAME}\n");
        // What is named is made before it is used, and unused before it is taken away.
        let mut line = |verb: &str, what: std::fmt::Arguments| {
            let (verb, kind) = verb.split_once(' ').unwrap_or((verb, ""));
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{verb} {kind} ip {NAME} {what}");
        };
        for (name, set) in self.sets.iter().filter(|(name, _)| !last.sets.contains_key(*name)) {
            line(&format!("add {}", set.kind.0), format_args!("{name} {{ {}; }}", set.kind.1));
        }
        for (name, chain) in self.chains.iter().filter(|(name, _)| !last.chains.contains_key(*name)) {
            line("add chain", format_args!("{name}{}", chain.hook));
        }
        let none = BTreeSet::new();
        for (name, set) in &self.sets {
            let before = last.sets.get(name).map_or(&none, |set| &set.elements);
            for (verb, elements) in [
                ("delete element", before.difference(&set.elements)),
                ("add element", set.elements.difference(before)),
            ] {
                let elements: Vec<&str> = elements.map(String::as_str).collect();
                if !elements.is_empty() {
                    line(verb, format_args!("{name} {{ {} }}", elements.join(", ")));
                }
            }
        }
        let stale = last.chains.keys().filter(|name| !self.chains.contains_key(*name));
        let changed = |(name, chain): &(&String, &Chain)| last.chains.get(*name) != Some(chain);
        let written = |(name, _): &(&String, &Chain)| last.chains.contains_key(*name);
        let rewritten = self.chains.iter().filter(changed).filter(written).map(|(name, _)| name);
        for name in stale.clone().chain(rewritten) {
            line("flush chain", format_args!("{name}"));
        }
        for (name, chain) in self.chains.iter().filter(changed) {
            for rule in &chain.rules {
                line("add rule", format_args!("{name} {rule}"));
            }
        }
        for name in stale {
            line("delete chain", format_args!("{name}"));
        }
        for (name, set) in last.sets.iter().filter(|(name, _)| !self.sets.contains_key(*name)) {
            line(&format!("delete {}", set.kind.0), format_args!("{name}"));
        }
        Some(text)
    }
}

#[cfg(test)]
mod tests;
