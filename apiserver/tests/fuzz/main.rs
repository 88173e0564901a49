//! Random and mutated input for everything that reads what callers send. Nothing may crash, hang, or be answered in
//! another form than a `Status`.
//!
//! Inputs come from the kept corpus (`tests/fuzz/corpus/<target>/`) and from mutations of it. What leads to an outcome
//! not seen before is mutated further. An input that crashes is written into the corpus and stays there as its test.
//! Nothing may take more CPU time than a refusal is worth, and nothing may grow faster than its input does ([`wide`]).
//! `make test` runs this for a moment; `make fuzz`, through `SKIFF_FUZZ_SECONDS`, for longer.

#![allow(clippy::unwrap_used, missing_docs)]

mod custom;
#[path = "../harness/mod.rs"]
mod harness;
mod http;
mod inputs;
mod mutate;
mod targets;
mod wide;

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

/// The time for one target.
fn time() -> Duration {
    let seconds: f64 = std::env::var("SKIFF_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(4.0);
    Duration::from_secs_f64(seconds / f64::from(u32::try_from(targets::ALL.len() + 1).unwrap()))
}

fn seed() -> u64 {
    std::env::var("SKIFF_FUZZ_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random)
}

fn corpus_folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target)
}

/// The kept inputs of a target. Its `seeds` file holds one a line.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let mut inputs = Vec::new();
    let mut files: Vec<_> =
        std::fs::read_dir(corpus_folder(target)).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        if file.file_name().is_some_and(|name| name == "seeds") {
            inputs.extend(bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(<[u8]>::to_vec));
        } else {
            inputs.push(bytes);
        }
    }
    assert!(!inputs.is_empty(), "{target} has no corpus");
    inputs
}

fn hash(of: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// Runs one input; what it came to.
fn attempt(name: &str, run: fn(&[u8]) -> String, input: &[u8]) -> String {
    let started = wide::cpu_time();
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| run(input)));
    let took = wide::cpu_time() - started;
    let keep = |why: &str| {
        let file = corpus_folder(name).join(format!("{why}-{:016x}", hash(input)));
        std::fs::write(&file, input).unwrap();
        panic!("{name}: {why} with {:?}; kept as {}", String::from_utf8_lossy(input), file.display());
    };
    if took > wide::BUDGET {
        keep("slow");
    }
    outcome.unwrap_or_else(|_| {
        keep("crash");
        String::new()
    })
}

/// The form of an outcome: its letters, so that numbers and quoted input make no difference.
fn form(outcome: &str) -> u64 {
    let letters: String = outcome.chars().filter(|c| c.is_ascii_alphabetic()).take(60).collect();
    hash(letters.as_bytes())
}

fn fuzz(name: &str, run: fn(&[u8]) -> String) {
    let seed = seed();
    let mut random = SmallRng::seed_from_u64(seed);
    let mut pool = corpus(name);
    // What is made once is not any input's fault.
    let _made = (targets::kinds().len(), kinds::schema::Types::builtin());
    let mut forms: HashSet<u64> = pool.iter().map(|input| form(&attempt(name, run, input))).collect();
    let (kept, end) = (pool.len(), Instant::now() + time());
    let mut runs = 0_u64;
    while Instant::now() < end {
        let input = mutate::mutate(&pool, &mut random);
        let outcome = attempt(name, run, &input);
        runs += 1;
        if pool.len() < kept + 2000 && forms.insert(form(&outcome)) {
            pool.push(input);
        }
    }
    println!("{name}: {runs} inputs, {} outcomes, seed {seed}", forms.len());
    assert!(runs > 0);
}

macro_rules! fuzz_targets {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            let (name, run) = targets::ALL.iter().find(|(name, _)| *name == stringify!($name)).unwrap();
            fuzz(name, *run);
        })*

        #[test]
        fn every_target_runs() {
            let names: Vec<&str> = targets::ALL.iter().map(|(name, _)| *name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

fuzz_targets!(
    requests,
    json_patches,
    merge_patches,
    strategic_patches,
    applied,
    label_selectors,
    field_selectors,
    quantities,
    json_objects,
    yaml_objects,
    protobuf_objects,
    expressions,
);

#[test]
fn mutations_differ_and_stay_small() {
    let mut random = SmallRng::seed_from_u64(1);
    let pool = vec![br#"{"a":[1,2,{"b":"c"}]}"#.to_vec(), b"x".to_vec()];
    let all: HashSet<Vec<u8>> = (0..1000).map(|_| mutate::mutate(&pool, &mut random)).collect();
    assert!(all.len() > 500 && all.iter().all(|i| i.len() <= mutate::LONGEST), "{}", all.len());
    assert!(random.random_bool(1.0));
}
