//! A document that operations change one after the other, each at the cost of its path and value.
//!
//! Objects and lists are opened where paths lead into them; all else stays as it was read. Lists are kept in pieces,
//! since many insertions at the front of one long list would move all of it each time.

use std::collections::BTreeMap;

use serde_json::Value;

/// So many items a piece of a list has when it is opened; it is halved at twice as many.
const PIECE: usize = 1024;

/// A value in the document.
#[derive(Debug)]
pub(super) enum Node {
    /// As it was read.
    Closed(Value),
    Object(BTreeMap<String, Node>),
    List(List),
}

/// There is no such place.
#[derive(Debug)]
pub(super) struct Nowhere;

impl Node {
    fn open(&mut self) {
        *self = match self {
            Self::Closed(Value::Object(map)) => {
                let map = std::mem::take(map);
                Self::Object(map.into_iter().map(|(name, value)| (name, Self::Closed(value))).collect())
            }
            Self::Closed(Value::Array(items)) => Self::List(List::new(std::mem::take(items))),
            _ => return,
        };
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self, Self::Closed(Value::Null))
    }

    /// The member or item called `name`; `None` for a member that is not there.
    pub(super) fn get(&mut self, name: &str) -> Result<Option<&mut Node>, Nowhere> {
        self.open();
        match self {
            Self::Object(map) => Ok(map.get_mut(name)),
            Self::List(list) => {
                let place = position(name, list.len, 0)?;
                Ok(Some(list.get(place)))
            }
            Self::Closed(_) => Err(Nowhere),
        }
    }

    /// Puts a member in, or an item in front of the one called `name`, which `-` is behind the last.
    pub(super) fn add(&mut self, name: &str, value: Node) -> Result<(), Nowhere> {
        self.open();
        match self {
            Self::Object(map) => drop(map.insert(name.to_owned(), value)),
            Self::List(list) => {
                let place = if name == "-" { list.len } else { position(name, list.len, 1)? };
                list.insert(place, value);
            }
            Self::Closed(_) => return Err(Nowhere),
        }
        Ok(())
    }

    /// Takes out a member or an item that is there.
    pub(super) fn remove(&mut self, name: &str) -> Result<Node, Nowhere> {
        self.open();
        match self {
            Self::Object(map) => map.remove(name).ok_or(Nowhere),
            Self::List(list) => {
                let place = position(name, list.len, 0)?;
                Ok(list.remove(place))
            }
            Self::Closed(_) => Err(Nowhere),
        }
    }

    pub(super) fn equals(&self, other: &Value) -> bool {
        match (self, other) {
            (Self::Closed(value), other) => value == other,
            (Self::Object(map), Value::Object(other)) => {
                map.len() == other.len()
                    && map
                        .iter()
                        .all(|(name, value)| other.get(name).is_some_and(|other| value.equals(other)))
            }
            (Self::List(list), Value::Array(other)) => {
                list.len == other.len() && list.iter().zip(other).all(|(value, other)| value.equals(other))
            }
            _ => false,
        }
    }

    /// The value, if it is nested at most `depth` levels deep.
    pub(super) fn value(&self, depth: usize) -> Option<Value> {
        match self {
            Self::Closed(value) => crate::json::is_within(depth, value).then(|| value.clone()),
            Self::Object(map) => {
                let below = depth.checked_sub(1)?;
                map.iter().map(|(name, value)| Some((name.clone(), value.value(below)?))).collect()
            }
            Self::List(list) => {
                let below = depth.checked_sub(1)?;
                list.iter().map(|value| value.value(below)).collect()
            }
        }
    }

    fn take_members(&mut self, into: &mut Vec<Node>) {
        match self {
            Self::Closed(_) => {}
            Self::Object(map) => into.extend(std::mem::take(map).into_values()),
            Self::List(list) => into.extend(std::mem::take(&mut list.pieces).into_iter().flatten()),
        }
    }
}

impl Drop for Node {
    /// Moves into what was moved nest deeper than a stack is.
    fn drop(&mut self) {
        let mut left = Vec::new();
        self.take_members(&mut left);
        while let Some(mut node) = left.pop() {
            node.take_members(&mut left);
        }
    }
}

/// Where an index points to in a list; negative ones count from its end. Behind the last item there are `more` places.
fn position(index: &str, len: usize, more: usize) -> Result<usize, Nowhere> {
    let index: i64 = index.parse().map_err(|_| Nowhere)?;
    let places = len + more;
    let from_start = if index < 0 {
        usize::try_from(index.unsigned_abs()).ok().and_then(|back| places.checked_sub(back))
    } else {
        usize::try_from(index).ok()
    };
    from_start.filter(|place| *place < places).ok_or(Nowhere)
}

/// A list in pieces.
#[derive(Debug)]
pub(super) struct List {
    pieces: Vec<Vec<Node>>,
    len: usize,
}

impl List {
    fn new(items: Vec<Value>) -> Self {
        let len = items.len();
        let mut items = items.into_iter().map(Node::Closed);
        let pieces = (0..=len / PIECE).map(|_| items.by_ref().take(PIECE).collect()).collect();
        Self { pieces, len }
    }

    /// The piece that an item lies in, and where in it.
    fn locate(&self, mut place: usize) -> (usize, usize) {
        for (i, piece) in self.pieces.iter().enumerate() {
            if place < piece.len() || i + 1 == self.pieces.len() {
                return (i, place);
            }
            place -= piece.len();
        }
        (0, place)
    }

    fn get(&mut self, place: usize) -> &mut Node {
        let (piece, at) = self.locate(place);
        &mut self.pieces[piece][at]
    }

    fn insert(&mut self, place: usize, value: Node) {
        let (piece, at) = self.locate(place);
        let items = &mut self.pieces[piece];
        items.insert(at, value);
        self.len += 1;
        if items.len() >= 2 * PIECE {
            let half = items.split_off(PIECE);
            self.pieces.insert(piece + 1, half);
        }
    }

    fn remove(&mut self, place: usize) -> Node {
        let (piece, at) = self.locate(place);
        self.len -= 1;
        self.pieces[piece].remove(at)
    }

    fn iter(&self) -> impl Iterator<Item = &Node> {
        self.pieces.iter().flatten()
    }
}
