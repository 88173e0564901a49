#![allow(clippy::unwrap_used)]
use super::*;

fn image() -> Image {
    let file = ImageFile { path: "bin/hello".into(), content: b"hello".to_vec(), mode: 0o755 };
    let recipe = Recipe {
        name: "hello:v1".into(),
        files: vec![file],
        links: vec![],
        entrypoint: vec!["/bin/hello".into()],
        env: vec![],
    };
    recipe.build().unwrap()
}

#[test]
fn an_archive_names_its_image() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hello.tar");
    std::fs::write(&path, image().archive().unwrap()).unwrap();
    assert_eq!(names_in(&path).unwrap(), ["hello:v1"]);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, &image().archive().unwrap()).unwrap();
    std::fs::write(&path, packed.finish().unwrap()).unwrap();
    assert_eq!(names_in(&path).unwrap(), ["hello:v1"]);
    let mut unpacked = Vec::new();
    Archive::open(&path).unwrap().stream.read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, image().archive().unwrap());
}

/// An archive with a `manifest.json` that was called so by a header before it, or by itself.
fn archive(tags: &serde_json::Value, header: Option<(tar::EntryType, &[u8])>) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    if let Some((kind, content)) = header {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, "header", content).unwrap();
    }
    let name = if header.is_some() { "other" } else { "./a/../manifest.json" };
    let mut header = tar::Header::new_ustar();
    header.as_ustar_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
    let content = json!([{"RepoTags": tags}]).to_string();
    header.set_size(content.len() as u64);
    header.set_cksum();
    tar.append(&header, content.as_bytes()).unwrap();
    tar.into_inner().unwrap()
}

#[test]
fn an_archive_takes_no_name_of_skiffs_and_says_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.tar");
    let refusal = |content: Vec<u8>| {
        std::fs::write(&path, content).unwrap();
        names_in(&path).unwrap_err().to_string()
    };
    let pause = json!(["a:1", "skiff.local/pause:1"]);
    for header in [
        None,
        Some((tar::EntryType::XHeader, &b"22 path=manifest.json\n"[..])),
        Some((tar::EntryType::GNULongName, &b"manifest.json\0"[..])),
    ] {
        let refusal = refusal(archive(&pause, header));
        assert!(refusal.contains("holds skiff.local/pause:1: names that begin"), "{refusal}");
    }
    assert!(refusal(archive(&json!(null), None)).contains("holds no image with a name"));
    let long = json!(["a".repeat(5 << 20)]);
    assert!(refusal(archive(&long, None)).contains("an index in it is too long"));
    let long_name = Some((tar::EntryType::GNULongName, &[b'a'; 5 << 20][..]));
    assert!(refusal(archive(&pause, long_name)).contains("an index in it is too long"));
}

#[test]
fn a_pipe_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(names_in(&path).unwrap_err().to_string().contains("not even a file"));
}

#[test]
fn all_kinds_of_archives_name_all_images_alike() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("two.tar");
    let manifest = json!([{"RepoTags": ["nginx:alpine"]}, {"RepoTags": ["a/b:1", "localhost:5000/c:1"]}]);
    let named = |name: &str| json!({"annotations": {"io.containerd.image.name": name}});
    let referred = |name: &str| json!({"annotations": {"org.opencontainers.image.ref.name": name}});
    let index = json!({"manifests":
            [named("docker.io/library/nginx:alpine"), named("docker.io/a/b:1"),
        referred("localhost:5000/c:1"), referred("latest")]});
    let files = [("manifest.json", &manifest), ("index.json", &index)];
    for wanted in [&files[..1], &files[1..], &files[..]] {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, content) in wanted {
            append(&mut tar, name, content.to_string().as_bytes(), 0o644).unwrap();
        }
        std::fs::write(&path, tar.into_inner().unwrap()).unwrap();
        assert_eq!(names_in(&path).unwrap(), ["a/b:1", "localhost:5000/c:1", "nginx:alpine"]);
    }
}

#[test]
fn an_archive_that_ends_early_is_called_that() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("half.tar");
    let whole = image().archive().unwrap();
    std::fs::write(&path, &whole[..700]).unwrap();
    let refusal = names_in(&path).unwrap_err().to_string();
    assert!(refusal.contains("damaged or cut off"), "{refusal}");
}

#[test]
fn the_manifest_points_at_config_and_layer() {
    let image = image();
    let (_, manifest) = image.manifest().unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["layers"][0]["digest"], digest(&image.layer));
    let config: serde_json::Value = serde_json::from_slice(&image.config).unwrap();
    assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
    assert_eq!(manifest["config"]["digest"], digest(&image.config));
}

#[test]
fn other_files_are_refused_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    let mut tar = tar::Builder::new(Vec::new());
    append(&mut tar, "README", b"text", 0o644).unwrap();
    let cases: [(Vec<u8>, &str); 4] = [
        (b"no tar at all".to_vec(), "is no image archive"),
        (vec![0x1f, 0x8b, 1, 2, 3], "is no image archive"),
        (vec![7; 5000], "is no image archive"),
        (tar.into_inner().unwrap(), "neither manifest.json nor index.json"),
    ];
    for (content, part) in cases {
        std::fs::write(&path, content).unwrap();
        let refusal = names_in(&path).unwrap_err().to_string();
        assert!(refusal.contains(part), "{refusal}");
    }
    assert!(names_in(dir.path()).unwrap_err().to_string().contains("not even a file"));
    assert!(names_in(&dir.path().join("nothing")).unwrap_err().to_string().contains("cannot read"));
}
