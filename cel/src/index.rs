//! Values found by what they are: what is equal has the same hash, whatever its type and wherever it comes from.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{DefaultHasher, Hash, Hasher},
    mem::discriminant,
};

use super::{
    types::{ListKind, Shape},
    value::{List, Map, Opaque, Value},
};

/// The entries of a map that an expression makes, in their order.
#[derive(Debug, Clone, Default)]
pub(super) struct Entries<'a> {
    entries: Vec<(Value<'a>, Value<'a>)>,
    places: HashMap<Value<'a>, usize>,
}

impl<'a> Entries<'a> {
    /// Adds an entry; answers the key when there is one with that key already.
    pub fn add(&mut self, key: Value<'a>, value: Value<'a>) -> Result<(), Value<'a>> {
        match self.places.entry(key) {
            Entry::Occupied(known) => Err(known.key().clone()),
            Entry::Vacant(place) => {
                self.entries.push((place.key().clone(), value));
                place.insert(self.entries.len() - 1);
                Ok(())
            }
        }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn get(&self, key: &Value<'a>) -> Option<&Value<'a>> {
        // Others are no keys, and may be large.
        let place = if key.is_leaf() { self.places.get(key) } else { None };
        place.map(|place| &self.entries[*place].1)
    }

    pub fn iter(&self) -> impl Iterator<Item = &(Value<'a>, Value<'a>)> {
        self.entries.iter()
    }
}

/// Of those with the same key the first counts.
impl<'a> FromIterator<(Value<'a>, Value<'a>)> for Entries<'a> {
    fn from_iter<I: IntoIterator<Item = (Value<'a>, Value<'a>)>>(items: I) -> Self {
        let mut entries = Self::default();
        for (key, value) in items {
            let _again = entries.add(key, value);
        }
        entries
    }
}

/// Not-a-number is not equal to itself and so never found, as `cel-go` has it.
impl Eq for Value<'_> {}

impl Hash for Value<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            // Numbers are equal by value, whatever their type.
            Self::Int(n) => i128::from(*n).hash(state),
            Self::Uint(n) => i128::from(*n).hash(state),
            #[expect(clippy::cast_possible_truncation, reason = "is whole and small enough")]
            Self::Double(d) if d.fract() == 0.0 && d.abs() <= 1e20 => (*d as i128).hash(state),
            Self::Double(d) => d.to_bits().hash(state),
            other => {
                discriminant(other).hash(state);
                other.hash_content(state);
            }
        }
    }
}

impl Value<'_> {
    fn hash_content<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Null | Self::Int(_) | Self::Uint(_) | Self::Double(_) => {}
            Self::Bool(b) => b.hash(state),
            Self::String(text) => text.hash(state),
            Self::Bytes(bytes) => bytes.hash(state),
            Self::Duration(duration) => duration.hash(state),
            Self::Timestamp(moment) => moment.hash(state),
            Self::List(list) => hash_list(list, state),
            Self::Map(map) => hash_map(map, state),
            Self::Object(map, decl) => {
                let Shape::Object { fields } = &decl.shape else { return };
                for (name, decl) in fields.values() {
                    if let Some(value) = map.get(name) {
                        (name, Value::of(value, decl)).hash(state);
                    }
                }
            }
            Self::Type(name) => name.hash(state),
            Self::Optional(inner) => inner.hash(state),
            Self::Opaque(opaque) => match &**opaque {
                Opaque::Ip(ip) => ip.hash(state),
                Opaque::Cidr(range) => range.hash(state),
                Opaque::Quantity(quantity) => quantity.hash(state),
                Opaque::Format(name) => name.hash(state),
                Opaque::Url(url) => format!("{url:?}").hash(state),
                Opaque::Semver(version) => format!("{version:?}").hash(state),
                Opaque::Access(access) => access.hash(state),
                Opaque::Decision(decision) => decision.hash(state),
            },
        }
    }
}

fn hash_list<H: Hasher>(list: &List<'_>, state: &mut H) {
    list.len().hash(state);
    match list.kind {
        ListKind::Atomic => list.iter().for_each(|item| item.hash(state)),
        ListKind::Set | ListKind::Map(_) => together(list.iter()).hash(state),
    }
}

fn hash_map<H: Hasher>(map: &Map<'_>, state: &mut H) {
    map.len().hash(state);
    together(map.iter()).hash(state);
}

/// A hash of items whose order means nothing.
fn together(items: impl Iterator<Item = impl Hash>) -> u64 {
    items.fold(0, |sum, item| {
        let mut hasher = DefaultHasher::new();
        item.hash(&mut hasher);
        hasher.finish().wrapping_add(sum)
    })
}
