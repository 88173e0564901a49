//! Mutations: of bytes, of numbers, of text between brackets and quotes, and of two inputs with each other.

use rand::{RngExt as _, rngs::SmallRng, seq::IndexedRandom as _};

/// Inputs do not grow beyond this.
pub const LONGEST: usize = 16 * 1024;

/// Pieces that have a meaning to what is fuzzed.
const WORDS: &[&str] = &[
    "\"",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "null",
    "true",
    "-1",
    "0",
    "1e400",
    "18446744073709551616",
    "-0",
    "\\u0000",
    "\\ud800",
    "\u{feff}",
    "~1",
    "~0",
    "/-",
    "/0",
    "$patch",
    "$retainKeys",
    "$setElementOrder/",
    "$deleteFromPrimitiveList/",
    "metadata",
    "spec",
    "status",
    "name",
    "namespace",
    "labels",
    "managedFields",
    "ownerReferences",
    "finalizers",
    "containers",
    "ports",
    "==",
    "!=",
    " in (",
    " notin (",
    "!",
    "=",
    "%2F",
    "%00",
    "%",
    "..",
    "//",
    "?",
    "&",
    "watch=true",
    "limit=",
    "continue=",
    "resourceVersion=",
    "fieldSelector=",
    "labelSelector=",
    "dryRun=All",
    "proxy",
    "log",
    "Ki",
    "Mi",
    "e3",
    "E",
    "n",
    "m",
    ".",
    "+",
    "-",
    "\n",
    "\r\n",
    "\t",
    "---",
    "&a ",
    "*a",
    "!!binary ",
    "|",
    ">",
    "k8s\0",
    "\u{1f980}",
    "self.",
    "oldSelf",
    "has(",
    ".map(",
    "matches('(a+)+$')",
    "1 / 0",
    "? 1 :",
];

/// A new input from the old ones.
pub fn mutate(pool: &[Vec<u8>], random: &mut SmallRng) -> Vec<u8> {
    let mut input = pool.choose(random).cloned().unwrap_or_default();
    for _ in 0..random.random_range(1..=4) {
        step(&mut input, pool, random);
    }
    input.truncate(LONGEST);
    input
}

fn step(input: &mut Vec<u8>, pool: &[Vec<u8>], random: &mut SmallRng) {
    let at = random.random_range(0..=input.len());
    let end = (at + random.random_range(1..=16)).min(input.len());
    match random.random_range(0..10) {
        0 if at < input.len() => input[at] ^= 1 << random.random_range(0..8),
        1 if at < input.len() => input[at] = random.random(),
        2 => drop(input.drain(at..end)),
        3 => {
            let copy = input[at..end].to_vec();
            for _ in 0..random.random_range(1..=40) {
                input.splice(at..at, copy.iter().copied());
                if input.len() > LONGEST {
                    break;
                }
            }
        }
        4 => input.insert(at, random.random()),
        5 => {
            let other = pool.choose(random).cloned().unwrap_or_default();
            let from = random.random_range(0..=other.len());
            let to = random.random_range(from..=other.len());
            input.splice(at..end, other[from..to].iter().copied());
        }
        6 => nest(input, at, random),
        7 => number(input, random),
        _ => {
            let word = WORDS.choose(random).copied().unwrap_or("");
            let until = if random.random_bool(0.5) { at } else { end };
            input.splice(at..until, word.bytes());
        }
    }
}

/// Brackets, many of them.
fn nest(input: &mut Vec<u8>, at: usize, random: &mut SmallRng) {
    let (open, close) =
        *[("[", "]"), ("{\"a\":", "}"), ("(", ")"), ("!", "")].choose(random).unwrap_or(&("[", "]"));
    let depth = *[1, 3, 130, 1000].choose(random).unwrap_or(&1);
    input.splice(at..at, close.repeat(depth).bytes());
    input.splice(at..at, open.repeat(depth).bytes());
}

/// Another number in place of one.
fn number(input: &mut Vec<u8>, random: &mut SmallRng) {
    let digits: Vec<usize> = (0..input.len()).filter(|i| input[*i].is_ascii_digit()).collect();
    let Some(at) = digits.choose(random).copied() else { return };
    let end = (at..input.len()).find(|i| !input[*i].is_ascii_digit()).unwrap_or(input.len());
    const NUMBERS: &[&str] = &[
        "0",
        "-1",
        "1",
        "65536",
        "2147483648",
        "9223372036854775807",
        "9223372036854775808",
        "1e9",
        "0.1",
        "00",
    ];
    let number = NUMBERS.choose(random).copied().unwrap_or("0");
    input.splice(at..end, number.bytes());
}
