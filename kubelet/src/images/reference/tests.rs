use super::*;

#[test]
fn names() {
    let digest = format!("@sha256:{}", "a".repeat(64));
    for (name, full) in [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1.2", "docker.io/library/nginx:1.2"),
        ("me/nginx", "docker.io/me/nginx:latest"),
        ("index.docker.io/me/x", "docker.io/me/x:latest"),
        ("localhost/x", "localhost/x:latest"),
        ("registry:5000/a/b:v1", "registry:5000/a/b:v1"),
        ("10.0.0.1:5000/a", "10.0.0.1:5000/a:latest"),
        ("a--b/c__d.e", "docker.io/a--b/c__d.e:latest"),
    ] {
        assert_eq!(normalize(name).as_deref(), Ok(full), "{name}");
    }
    assert_eq!(normalize(&format!("x{digest}")), Ok(format!("docker.io/library/x{digest}")));
}

#[test]
fn refusals() {
    assert_eq!(
        normalize("UPPER:x:y").unwrap_err(),
        "invalid reference format: repository name (library/UPPER) must be lowercase"
    );
    for name in ["", " x", "x y", "x:", "a//b", "-a", "a.-b", "x:y:z", "x@sha256:12"] {
        assert_eq!(normalize(name).unwrap_err(), FORMAT, "{name}");
    }
    assert!(normalize(&"a".repeat(64)).is_err());
}
