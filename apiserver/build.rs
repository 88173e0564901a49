//! Hashes the sources that OpenAPI documents are made from: clients keep a document for as long as its hash stays.
//!
//! Another hash of the same sources, as another compiler's `DefaultHasher` may make, only costs each client a fetch.

use std::{
    collections::BTreeSet,
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    path::{Path, PathBuf},
};

/// The rules and types of kinds, the code that describes them, and the versions of the crates below both.
const SOURCES: &[&str] = &["../api/src", "../cel/src", "../kinds/src", "src/publish", "../Cargo.lock"];

fn main() -> io::Result<()> {
    let mut files = BTreeSet::new();
    for source in SOURCES {
        collect(Path::new(source), &mut files)?;
    }
    let mut state = DefaultHasher::new();
    for file in files {
        println!("cargo::rerun-if-changed={}", file.display());
        file.to_string_lossy().hash(&mut state);
        fs::read(file)?.hash(&mut state);
    }
    println!("cargo::rustc-env=SKIFF_OPENAPI_SOURCES={:016x}", state.finish());
    Ok(())
}

/// The files below a path. Tests make no documents.
fn collect(path: &Path, files: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    if path.ends_with("tests") || path.ends_with("tests.rs") {
        return Ok(());
    }
    if !path.is_dir() {
        files.insert(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        collect(&entry?.path(), files)?;
    }
    Ok(())
}
