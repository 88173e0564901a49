//! What the Go types' tags say and the schemas of `k8s-openapi` do not: how lists and maps merge, which values there are,
//! and what Go writes of nothing.

use std::{collections::HashMap, sync::LazyLock};

use super::Tag;

/// The facts about one field of a type, or (field `*`) about the type itself. Empty means not said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fact {
    /// `atomic`, `set`, `map`.
    pub list_type: &'static str,
    /// Keys of a list map, comma-separated.
    pub keys: &'static str,
    /// `merge`, `replace`, `retainKeys`, comma-separated.
    pub patch_strategy: &'static str,
    /// Merge key of a strategic merge patch.
    pub merge_key: &'static str,
    /// `atomic`, `granular`.
    pub map_type: &'static str,
    /// The values of an enumeration, or of a list's items, comma-separated.
    pub values: &'static str,
}

type Table = HashMap<(&'static str, &'static str), Fact>;

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    include_str!("go_markers.tsv")
        .lines()
        .filter(|l| !l.starts_with('#'))
        .map(|line| {
            let mut columns = line.split('\t');
            let mut next = || columns.next().unwrap_or("");
            let key = (next(), next());
            let fact = Fact {
                list_type: next(),
                keys: next(),
                patch_strategy: next(),
                merge_key: next(),
                map_type: next(),
                values: next(),
            };
            (key, fact)
        })
        .collect()
});

static TAGS: LazyLock<HashMap<(&'static str, &'static str), Tag>> = LazyLock::new(|| {
    let rows = include_str!("go_tags.tsv").lines().filter(|line| !line.starts_with('#'));
    let rows = rows.filter_map(|line| {
        let [ty, field, tag] = <[&str; 3]>::try_from(line.split('\t').collect::<Vec<_>>()).ok()?;
        let tag = match tag {
            "null" => Tag::Null,
            "omitted" => Tag::OmittedEmpty,
            "kept" => Tag::KeptEmpty,
            "pointer" => Tag::AsIs,
            // A test reads the whole table.
            other => panic!("go_tags.tsv knows no {other:?}"),
        };
        Some(((ty, field), tag))
    });
    rows.collect()
});

/// How Go writes a field of the type called `schema`, if it is not by its type alone.
pub fn tag(schema: &str, field: &str) -> Option<Tag> {
    TAGS.get(&(short(schema), field)).copied()
}

/// The facts about a field (`*`: the type itself) of the type called `schema`, a name such as
/// `io.k8s.api.core.v1.PodSpec`.
pub fn facts(schema: &str, field: &str) -> Fact {
    TABLE.get(&(short(schema), field)).copied().unwrap_or_default()
}

/// The fields of a type about which there are facts.
#[cfg(test)]
pub(super) fn fields_of(schema: &str) -> impl Iterator<Item = &'static str> {
    TABLE.keys().filter(move |(ty, _)| *ty == short(schema)).map(|(_, field)| *field)
}

/// Field defaults that list map keys rest on.
pub fn key_default(schema: &str, field: &str) -> Option<&'static str> {
    match (short(schema), field) {
        ("core.v1.ContainerPort" | "core.v1.ServicePort", "protocol") => Some("TCP"),
        _ => None,
    }
}

/// `core.v1.PodSpec` of `io.k8s.api.core.v1.PodSpec`.
fn short(schema: &str) -> &str {
    last_segments(schema, 3)
}

/// The last `n` of a name's dot-separated segments.
pub(super) fn last_segments(name: &str, n: usize) -> &str {
    name.rmatch_indices('.').nth(n - 1).map_or(name, |(i, _)| &name[i + 1..])
}
