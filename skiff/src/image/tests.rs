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
}

#[test]
fn all_kinds_of_archives_name_all_images_alike() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("two.tar");
    let manifest = json!([{"RepoTags": ["nginx:alpine"]}, {"RepoTags": ["a/b:1", "localhost:5000/c:1"]}]);
    let named = |name: &str| json!({"annotations": {"io.containerd.image.name": name}});
    let index = json!({"manifests":
            [named("docker.io/library/nginx:alpine"), named("docker.io/a/b:1"), named("localhost:5000/c:1")]});
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
