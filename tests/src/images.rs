//! The images that tests run, made from programs of this machine.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use skiff::image::{Image, ImageFile, ImageLink, Recipe};

use crate::cluster::bin_dir;

fn program(path: &Path, name: &str) -> ImageFile {
    let content = std::fs::read(path)
        .unwrap_or_else(|error| panic!("{}: {error}: `make e2e` builds what the tests need", path.display()));
    ImageFile { path: name.to_owned(), content, mode: 0o755 }
}

/// `http-go` as it answers in one version; it goes on answering for `linger_ms` after SIGTERM.
pub fn http_go(name: &str, version: &str, linger_ms: u32) -> Image {
    let recipe = Recipe {
        name: name.to_owned(),
        files: vec![program(&bin_dir().join("static/http-go"), "http-go")],
        links: Vec::new(),
        entrypoint: vec!["/http-go".into()],
        env: vec![format!("VERSION={version}"), format!("LINGER_MS={linger_ms}")],
    };
    recipe.build().expect("a recipe of one readable file")
}

/// A shell and the usual small programs.
pub fn busybox(name: &str) -> Image {
    let link = |applet: &str| ImageLink { path: format!("bin/{applet}"), target: "busybox".into() };
    let applets = [
        "sh", "cat", "echo", "env", "false", "hostname", "id", "ip", "ls", "nslookup", "sleep", "true",
        "wget",
    ];
    let recipe = Recipe {
        name: name.to_owned(),
        files: vec![program(Path::new("/bin/busybox"), "bin/busybox")],
        links: applets.map(link).to_vec(),
        entrypoint: Vec::new(),
        env: vec!["PATH=/bin".into()],
    };
    recipe.build().expect("a recipe of one readable file")
}

/// `redis` as Debian has it: the server, which one of the tools becomes when it is called so, and its client.
pub fn redis(name: &str) -> Image {
    let programs = [("/usr/bin/redis-check-rdb", "redis-server"), ("/usr/bin/redis-cli", "redis-cli")];
    let mut files: Vec<ImageFile> = programs
        .iter()
        .map(|(path, name)| program(Path::new(path), &format!("usr/local/bin/{name}")))
        .collect();
    let libraries: BTreeSet<String> = programs.iter().flat_map(|(path, _)| libraries(path)).collect();
    files.extend(libraries.iter().map(|path| program(Path::new(path), path.trim_start_matches('/'))));
    let recipe = Recipe {
        name: name.to_owned(),
        files,
        links: Vec::new(),
        entrypoint: vec!["redis-server".into()],
        env: vec!["PATH=/usr/local/bin".into()],
    };
    recipe.build().expect("a recipe of readable files")
}

/// The libraries that a program of this machine is linked with, its loader among them.
fn libraries(program: &str) -> Vec<String> {
    let said = Command::new("ldd").arg(program).output().expect("ldd is a part of the C library");
    let text = String::from_utf8_lossy(&said.stdout);
    text.split_whitespace().filter(|word| word.starts_with('/')).map(str::to_owned).collect()
}
