use super::tag_of;

#[test]
fn only_latest_is_always_pulled() {
    let digest = format!("@sha256:{}", "0".repeat(64));
    for (image, tag) in [
        ("x", Some("latest")),
        ("x:latest", Some("latest")),
        ("x:1", Some("1")),
        ("x:LATEST", Some("LATEST")),
        ("host:5000/x", Some("latest")),
        ("host:5000/x:v2", Some("v2")),
        ("Host.example/x", Some("latest")),
        ("Foo/bar", Some("latest")),
        ("a__b/c.d-e", Some("latest")),
        (&format!("x{digest}"), Some("")),
        (&format!("x:latest{digest}"), Some("latest")),
        ("x@sha256:0000", None),
        ("", None),
        (" ", None),
        ("Shouted", None),
        ("ko://github.com/a/b", None),
        ("a/b:${TAG}", None),
        ("{{ .Values.image }}", None),
        ("x:", None),
        ("x/", None),
        ("a..b", None),
        ("up_.io/x", None),
        (&"0".repeat(64), None),
    ] {
        assert_eq!(tag_of(image), tag, "{image}");
    }
}
