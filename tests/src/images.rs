//! The images that tests run, made from static programs of this machine.

use std::path::Path;

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
