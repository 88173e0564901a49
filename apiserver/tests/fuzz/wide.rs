//! Requests as wide, as long and as deep as they may be. One that is four times as large may cost four times as much and
//! little more, whatever is wrong with it, and a refusal says little of it.
//!
//! Every list, map and text of every type of every kind is filled, alone and together with those beside it and above it; what
//! is not said in types has its own inputs ([`crate::inputs`]). CPU time of one thread is measured, so that it does not matter
//! how busy the machine is.

use std::{
    collections::{BTreeSet, HashSet},
    time::{Duration, Instant},
};

use kinds::{
    kind::Kind,
    schema::{Node, Scalar, TypeRef, Types},
};
use nix::time::{ClockId, clock_gettime};
use rand::{SeedableRng as _, rngs::SmallRng, seq::SliceRandom as _};
use serde_json::{Map, Value, json};

use crate::{seed, targets, time};

/// How many items a list has the first time.
const ITEMS: usize = 2000;
/// How long a text is the first time.
const LENGTH: usize = 40_000;
/// How much larger an input is the second time, and how much more that may cost.
const TIMES: usize = 4;
const MORE: u32 = 9;
/// What a request of a mebibyte, or less, may cost; without optimizations all takes many times as long.
pub const BUDGET: Duration = Duration::from_millis(if cfg!(debug_assertions) { 3000 } else { 100 });
/// What is too little to compare.
const LITTLE: Duration = Duration::from_millis(if cfg!(debug_assertions) { 100 } else { 8 });
/// How large the answer to a refused request may be, beyond what it said itself.
const ANSWER: usize = 512 * 1024;

/// The CPU time of this thread.
pub fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}

/// Reads an input and says how long its answer is.
pub type Read = Box<dyn Fn(&[u8]) -> usize>;

/// An input that can be made in any size, and what reads it; that answers how long its answer is.
pub struct Case {
    pub name: String,
    pub size: usize,
    /// As many requests as go through `run`.
    pub requests: u32,
    pub make: Box<dyn Fn(usize) -> Vec<u8>>,
    pub run: Read,
}

impl Case {
    /// The CPU time for an input of a size, and how large input and answer are.
    fn cost(&self, size: usize) -> (Duration, usize, usize) {
        let input = (self.make)(size);
        let started = cpu_time();
        let answer = (self.run)(&input);
        (cpu_time() - started, input.len(), answer)
    }

    /// What is wrong with how it grows.
    fn judge(&self) -> Option<String> {
        let mut wrong = None;
        // Once may be bad luck: caches fill, pages are taken.
        for _ in 0..3 {
            let (small, ..) = self.cost(self.size);
            let (large, length, answer) = self.cost(TIMES * self.size);
            let budget = (BUDGET * self.requests).mul_f64((length as f64 / 1_048_576.0).max(1.0));
            wrong = if large > small * MORE + LITTLE {
                Some(format!("{}: {length} bytes take {large:?}, a quarter of that {small:?}", self.name))
            } else if large > budget {
                Some(format!("{}: {length} bytes take {large:?}, more than {budget:?}", self.name))
            } else if answer > length + ANSWER {
                Some(format!("{}: {length} bytes are answered with {answer}", self.name))
            } else {
                return None;
            };
        }
        wrong
    }
}

/// Judges cases in any order until time is over: all of those that come first, whatever time that takes.
fn judge(first: Vec<Case>, mut others: Vec<Case>, time: Duration) {
    let seed = seed();
    others.shuffle(&mut SmallRng::seed_from_u64(seed));
    let (end, number, must) = (Instant::now() + time, first.len() + others.len(), first.len());
    let mut wrong = Vec::new();
    let mut judged = 0;
    for (i, case) in first.into_iter().chain(others).enumerate() {
        if i >= must && Instant::now() > end {
            break;
        }
        let found = case.judge();
        found.iter().for_each(|found| println!("{found}"));
        wrong.extend(found);
        judged += 1;
    }
    println!("wide: {judged} of {number}, seed {seed}");
    assert!(wrong.is_empty(), "seed {seed}: {} of {judged}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_type_grows_by_its_size() {
    // There are thousands.
    judge(Vec::new(), cases(), 5 * time());
}

#[test]
fn every_input_grows_by_its_size() {
    judge(crate::inputs::cases(), Vec::new(), time());
}

/// How the members of a list or map are made.
#[derive(Clone, Copy, PartialEq)]
enum Members {
    /// Each has names of its own.
    Different,
    /// All are the same.
    Same,
    /// The first has a long text, the others are the same.
    LongFirst,
}

/// A place in a kind's objects: the fields that lead there, through the first item of each list.
type Place = Vec<Box<str>>;

/// All cases of all kinds.
fn cases() -> Vec<Case> {
    let types = Types::builtin();
    let mut known = HashSet::new();
    let mut cases = Vec::new();
    for kind in targets::kinds() {
        let Some((_, root)) = kind.object_type() else { continue };
        let mut places = Vec::new();
        explore(types, root, &mut Vec::new(), &mut known, &mut places);
        for (place, ty) in places {
            of_place(types, kind, root, &place, ty, &mut cases);
        }
    }
    cases
}

/// Finds a place for each type of objects.
fn explore(
    types: &Types,
    ty: TypeRef,
    place: &mut Place,
    known: &mut HashSet<TypeRef>,
    places: &mut Vec<(Place, TypeRef)>,
) {
    match types.node(ty) {
        Node::List { item, .. } => explore(types, *item, place, known, places),
        Node::Map { value, .. } => explore(types, *value, place, known, places),
        Node::Object(object) if known.insert(ty) => {
            places.push((place.clone(), ty));
            for (name, field) in &object.fields {
                place.push(name.clone());
                explore(types, field.ty, place, known, places);
                place.pop();
            }
        }
        _ => {}
    }
}

fn is_wide(types: &Types, ty: TypeRef) -> bool {
    matches!(types.node(ty), Node::List { .. } | Node::Map { .. } | Node::Any)
}

/// The lists and maps of the object at a place.
fn lists(types: &Types, root: TypeRef, place: &[Box<str>]) -> Vec<Place> {
    let mut ty = root;
    for name in place {
        ty = types.member(ty, name).map_or(ty, |member| inner(types, member));
    }
    let Node::Object(object) = types.node(ty) else { return Vec::new() };
    let wide = object.fields.iter().filter(|(_, field)| is_wide(types, field.ty));
    wide.map(|(name, _)| place.iter().cloned().chain([name.clone()]).collect()).collect()
}

/// The type of what is inside of lists and maps.
fn inner(types: &Types, ty: TypeRef) -> TypeRef {
    match types.node(ty) {
        Node::List { item, .. } => inner(types, *item),
        Node::Map { value, .. } => inner(types, *value),
        _ => ty,
    }
}

fn of_place(
    types: &'static Types,
    kind: &'static Kind,
    root: TypeRef,
    place: &Place,
    ty: TypeRef,
    cases: &mut Vec<Case>,
) {
    let own = lists(types, root, place);
    let mut around: BTreeSet<Place> = own.iter().cloned().collect();
    for above in 0..place.len() {
        around.extend(lists(types, root, &place[..above]));
    }
    let mut add = |wide: Vec<Place>, members: Members| {
        let names: Vec<String> = wide.iter().map(|place| place.join(".")).collect();
        let how = match members {
            Members::Different => "different ones",
            Members::Same => "the same",
            Members::LongFirst => "a long one and many short ones",
        };
        cases.push(Case {
            name: format!("{} {}: {how}", kind.kind, names.join(" and ")),
            size: ITEMS / wide.len(),
            requests: targets::WRITES,
            make: Box::new(move |size| {
                let mut object = smallest(types, kind, root);
                for place in &wide {
                    fill(types, root, &mut object, place, size, members);
                }
                serde_json::to_vec(&object).unwrap()
            }),
            run: Box::new(move |input| targets::whole(kind, "application/json", input)),
        });
    };
    for list in &own {
        add(vec![list.clone()], Members::Different);
        add(vec![list.clone()], Members::Same);
        add(vec![list.clone()], Members::LongFirst);
        for other in around.iter().filter(|other| *other != list && !list.starts_with(other)) {
            add(vec![list.clone(), other.clone()], Members::Different);
        }
    }
    let Node::Object(object) = types.node(ty) else { return };
    for (name, field) in &object.fields {
        let is_text = matches!(
            types.node(inner(types, field.ty)),
            Node::Scalar(
                Scalar::String | Scalar::Quantity | Scalar::IntOrString | Scalar::Time | Scalar::Bytes
            )
        );
        if !is_text {
            continue;
        }
        let place: Place = place.iter().cloned().chain([name.clone()]).collect();
        for part in ["a", "1", "a.", "/", "-", "1,", "%", "{a}", "$(A)", "\u{e9}"] {
            let place = place.clone();
            cases.push(Case {
                name: format!("{} {}: {part:?} again and again", kind.kind, place.join(".")),
                size: LENGTH,
                requests: targets::WRITES,
                make: Box::new(move |size| {
                    let mut object = smallest(types, kind, root);
                    let text = part.repeat(size / part.len());
                    put(types, root, &mut object, &place, &mut |_| text.clone().into());
                    serde_json::to_vec(&object).unwrap()
                }),
                run: Box::new(move |input| targets::whole(kind, "application/json", input)),
            });
        }
    }
}

/// An object with what it must have.
pub fn smallest(types: &Types, kind: &Kind, root: TypeRef) -> Value {
    let mut object = sample(types, root, 0, 3);
    object["apiVersion"] = json!(kind.api_version());
    object["kind"] = json!(kind.kind);
    object["metadata"] = json!({"name": "x"});
    if kind.namespaced {
        object["metadata"]["namespace"] = json!("default");
    }
    object
}

/// A value of a type, with what it must have and single values to a depth. Its names are of a number.
fn sample(types: &Types, ty: TypeRef, number: usize, depth: usize) -> Value {
    match types.node(ty) {
        Node::Any | Node::Raw => json!({}),
        Node::Map { .. } | Node::List { .. } if depth == 0 => match types.node(ty) {
            Node::List { .. } => json!([]),
            _ => json!({}),
        },
        Node::Map { value, .. } => json!({format!("a{number}"): sample(types, *value, number, depth - 1)}),
        Node::List { item, .. } => json!([sample(types, *item, number, depth - 1)]),
        Node::Object(object) => {
            let wanted = object.fields.iter().filter(|(_, field)| {
                field.required || (depth > 0 && matches!(types.node(field.ty), Node::Scalar(_)))
            });
            let value = |ty| sample(types, ty, number, depth.saturating_sub(1));
            wanted
                .map(|(name, field)| {
                    (name.to_string(), named(name, number).unwrap_or_else(|| value(field.ty)))
                })
                .collect()
        }
        Node::Scalar(scalar) => match scalar {
            Scalar::String | Scalar::Formatted => json!(format!("a{number}")),
            Scalar::Int32 | Scalar::Int64 | Scalar::Number | Scalar::IntOrString => {
                json!(number % 60_000 + 1)
            }
            Scalar::Boolean => json!(true),
            Scalar::Bytes => json!("YQ=="),
            Scalar::Time => json!("2026-01-01T00:00:00Z"),
            Scalar::MicroTime => json!("2026-01-01T00:00:00.000000Z"),
            Scalar::Quantity => json!("1"),
        },
    }
}

/// Values that get further than any other text.
fn named(field: &str, number: usize) -> Option<Value> {
    Some(match field {
        "mountPath" | "devicePath" | "path" => json!(format!("/a{number}")),
        "protocol" => json!("TCP"),
        "operator" => json!("Exists"),
        "expression" | "message" | "messageExpression" => json!(format!("'{number}' == 'a'")),
        "ip" => json!(format!("10.{}.{}.{}", number >> 16 & 255, number >> 8 & 255, number & 255)),
        _ => return None,
    })
}

/// Puts a list or map of a size at a place.
fn fill(types: &Types, root: TypeRef, object: &mut Value, place: &Place, size: usize, members: Members) {
    put(types, root, object, place, &mut |ty| {
        let number = |i| if members == Members::Different { i } else { 0 };
        let member = |ty, i| {
            let mut member = sample(types, ty, number(i), 2);
            if i == 0 && members == Members::LongFirst {
                lengthen(&mut member, 5 * size);
            }
            member
        };
        match types.node(ty) {
            Node::List { item, .. } => (0..size).map(|i| member(*item, i)).collect(),
            Node::Map { value, .. } => (0..size).map(|i| (format!("a{i}"), member(*value, i))).collect(),
            _ => (0..size).map(|i| (format!("f:a{i}"), json!({}))).collect(),
        }
    });
}

/// Makes the texts of a value long.
fn lengthen(value: &mut Value, length: usize) {
    match value {
        Value::String(text) => *text = text.repeat(length / text.len().max(1)),
        Value::Array(items) => items.iter_mut().for_each(|item| lengthen(item, length)),
        Value::Object(map) => map.values_mut().for_each(|value| lengthen(value, length)),
        _ => {}
    }
}

/// Puts a value at a place; what leads there and is not there yet is made.
fn put(
    types: &Types,
    ty: TypeRef,
    at: &mut Value,
    place: &[Box<str>],
    make: &mut dyn FnMut(TypeRef) -> Value,
) {
    let Some((name, rest)) = place.split_first() else {
        match types.node(ty) {
            Node::List { item, .. } if matches!(types.node(*item), Node::Scalar(_)) => {
                *at = make(ty);
                if at.is_string() {
                    *at = json!([at.take()]);
                }
            }
            Node::Map { value, .. } if matches!(types.node(*value), Node::Scalar(_)) => {
                *at = make(ty);
                if let Value::String(text) = at.take() {
                    *at = json!({"a": text.clone(), text: "a"});
                } else {
                    *at = make(ty);
                }
            }
            _ => *at = make(ty),
        }
        return;
    };
    match types.node(ty) {
        Node::List { item, .. } => {
            if at.as_array().is_none_or(Vec::is_empty) {
                *at = json!([sample(types, *item, 0, 1)]);
            }
            put(types, *item, &mut at[0], place, make);
        }
        Node::Map { value, .. } => {
            if at.as_object().is_none_or(Map::is_empty) {
                *at = json!({"a0": sample(types, *value, 0, 1)});
            }
            let member = at.as_object_mut().and_then(|map| map.values_mut().next()).unwrap();
            put(types, *value, member, place, make);
        }
        Node::Object(object) => {
            let Some(field) = object.fields.get(name) else { return };
            if !at.is_object() {
                *at = sample(types, ty, 0, 1);
            }
            if at.get(&**name).is_none() && !rest.is_empty() {
                at[&**name] = sample(types, field.ty, 0, 1);
            }
            put(types, field.ty, &mut at[&**name], rest, make);
        }
        _ => {}
    }
}
