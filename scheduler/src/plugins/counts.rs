//! Numbers kept for each place: for each value of a label that nodes have.

use std::collections::HashMap;

use crate::node_view::NodeView;

/// Numbers by label and value; what is none is not there.
#[derive(Debug, Default)]
pub(super) struct Counts(HashMap<String, HashMap<String, i64>>);

impl Counts {
    /// Adds to the number of the place in which a node is, if it has the label.
    pub(super) fn add(&mut self, node: &NodeView, key: &str, by: i64) {
        let Some(value) = node.labels.get(key) else { return };
        // Most places are known.
        if !self.0.contains_key(key) {
            self.0.insert(key.to_owned(), HashMap::new());
        }
        let Some(values) = self.0.get_mut(key) else { return };
        match values.get_mut(value) {
            Some(number) => *number += by,
            None => drop(values.insert(value.clone(), by)),
        }
        if values.get(value) == Some(&0) {
            values.remove(value);
            if values.is_empty() {
                self.0.remove(key);
            }
        }
    }

    /// The number of the place in which a node is, by a label.
    pub(super) fn get(&self, node: &NodeView, key: &str) -> i64 {
        let number = node.labels.get(key).and_then(|value| self.0.get(key)?.get(value));
        number.copied().unwrap_or(0)
    }

    /// The numbers of all places in which a node is.
    pub(super) fn of<'a>(&'a self, node: &'a NodeView) -> impl Iterator<Item = i64> + 'a {
        self.0.iter().filter_map(|(key, values)| values.get(node.labels.get(key)?)).copied()
    }

    /// Whether there is none anywhere.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
