//! Hashes the sources that OpenAPI documents are made from: clients keep a document for as long as its hash stays.

use std::{
    collections::BTreeSet,
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    path::{Path, PathBuf},
};

/// The rules and types of kinds, the code that describes them, and the versions of the crates below both.
const SOURCES: &[&str] = &["../api/src", "src/publish", "../Cargo.lock"];

fn main() -> io::Result<()> {
    let mut files = BTreeSet::new();
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
        collect(Path::new(source), &mut files)?;
    }
    let mut state = DefaultHasher::new();
    for file in files {
        file.to_string_lossy().hash(&mut state);
        fs::read(file)?.hash(&mut state);
    }
    println!("cargo::rustc-env=SKIFF_OPENAPI_SOURCES={:016x}", state.finish());
    Ok(())
}

fn collect(path: &Path, files: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    if !path.is_dir() {
        files.insert(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        collect(&entry?.path(), files)?;
    }
    Ok(())
}
