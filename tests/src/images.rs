//! The images that tests run, made from programs of this machine.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use skiff::image::{Image, ImageFile, ImageLink, Recipe};
use skiff::machine;

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
        files: with_libraries(&[(bin_dir().join("http-go"), "http-go")]),
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

/// `curl` as Debian has it, and a shell to call it from.
pub fn curl(name: &str) -> Image {
    let programs =
        [(PathBuf::from("/usr/bin/curl"), "bin/curl"), (PathBuf::from("/bin/busybox"), "bin/busybox")];
    let recipe = Recipe {
        name: name.to_owned(),
        files: with_libraries(&programs),
        links: ["sh", "cat", "sleep"]
            .map(|applet| ImageLink { path: format!("bin/{applet}"), target: "busybox".into() })
            .to_vec(),
        entrypoint: Vec::new(),
        env: vec!["PATH=/bin".into()],
    };
    recipe.build().expect("a recipe of readable files")
}

/// `redis` as Debian has it: the server, which one of the tools becomes when it is called so, and its client.
pub fn redis(name: &str) -> Image {
    let programs = [
        (PathBuf::from("/usr/bin/redis-check-rdb"), "usr/local/bin/redis-server"),
        (PathBuf::from("/usr/bin/redis-cli"), "usr/local/bin/redis-cli"),
    ];
    let recipe = Recipe {
        name: name.to_owned(),
        files: with_libraries(&programs),
        links: Vec::new(),
        entrypoint: vec!["redis-server".into()],
        env: vec!["PATH=/usr/local/bin".into()],
    };
    recipe.build().expect("a recipe of readable files")
}

/// Programs of this machine under the paths they get, and the libraries that they are linked with.
fn with_libraries(programs: &[(PathBuf, &str)]) -> Vec<ImageFile> {
    let libraries = |(path, _): &(PathBuf, &str)| machine::libraries(path).expect("ldd tells the libraries");
    let libraries: BTreeSet<PathBuf> = programs.iter().flat_map(libraries).collect();
    let libraries =
        libraries.iter().map(|path| program(path, path.to_string_lossy().trim_start_matches('/')));
    programs.iter().map(|(path, name)| program(path, name)).chain(libraries).collect()
}
