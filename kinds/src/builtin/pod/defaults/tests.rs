use super::*;

#[test]
fn only_latest_is_always_pulled() {
    for (image, latest) in [
        ("x", true),
        ("x:latest", true),
        ("x:1", false),
        ("host:5000/x", true),
        ("host:5000/x:v2", false),
        ("x@sha256:0000", false),
        ("x:latest@sha256:0000", true),
        ("", false),
        (" ", false),
        ("Shouted", false),
        ("Host.example/x", true),
        ("x:LATEST", false),
    ] {
        assert_eq!(is_latest(image), latest, "{image}");
    }
}
