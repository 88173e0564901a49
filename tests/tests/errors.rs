//! Sources, as a test reads them: what no lint of the compiler's can hold.

#![allow(missing_docs, clippy::unwrap_used)]

use std::path::{Path, PathBuf};

/// Files of production code below a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = entry.file_name().unwrap().to_str().unwrap();
        match entry.is_dir() {
            true if !["tests", "target", ".git"].contains(&name) => sources(&entry, found),
            false if name.ends_with(".rs") && name != "tests.rs" => found.push(entry),
            _ => {}
        }
    }
}

/// Whether an error in this code is a bare text: `Result<…, String>`, over any number of lines.
fn has_bare_error(code: &str) -> bool {
    code.match_indices("Result<").any(|(at, start)| {
        let (mut depth, mut round, mut last) = (1, 0, None);
        let inner = &code[at + start.len()..];
        for (i, c) in inner.char_indices() {
            match c {
                '<' => depth += 1,
                '>' if !inner[..i].ends_with('-') => depth -= 1,
                '(' | '[' => round += 1,
                ')' | ']' => round -= 1,
                ',' if depth == 1 && round == 0 && !inner[i + 1..].trim_start().starts_with('>') => {
                    last = Some(i)
                }
                _ => {}
            }
            if depth == 0 {
                return last.is_some_and(|from| inner[from + 1..i].trim().trim_end_matches(',') == "String");
            }
        }
        false
    })
}

#[test]
fn errors_have_types() {
    for (code, is_bare) in [
        ("fn f() -> Result<Vec<(u8, String)>, String> {", true),
        ("Result<\n    A,\n    String,\n>", true),
        ("Result<(String, String), Message>", false),
        ("Result<String, Error>; HashMap<A, String>", false),
    ] {
        assert_eq!(has_bare_error(code), is_bare, "{code}");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = Vec::new();
    for member in std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()) {
        // The lab is for tests alone.
        if member.join("Cargo.toml").exists() && !member.ends_with("tests") && !member.ends_with("lab") {
            sources(&member.join("src"), &mut found);
        }
    }
    assert!(found.len() > 500, "too few sources: {}", found.len());
    found.retain(|path| has_bare_error(&std::fs::read_to_string(path).unwrap()));
    assert!(found.is_empty(), "an error is an enum or an `api::Message`: {found:?}");
}
