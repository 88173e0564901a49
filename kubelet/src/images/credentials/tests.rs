use super::*;

#[test]
fn places() {
    for (place, image, fits) in [
        ("https://index.docker.io/v1/", "docker.io/library/x:1", true),
        ("r.io:5000", "r.io:5000/a/b:1", true),
        ("r.io", "r.io:5000/a/b:1", false),
        ("r.io/a", "r.io/a/b:1", true),
        ("r.io/c", "r.io/a/b:1", false),
        ("*.r.io", "x.r.io/a:1", true),
        ("*.r.io", "r.io/a:1", false),
    ] {
        assert_eq!(covers(place, image), fits, "{place} {image}");
    }
}

#[test]
fn user_and_password() {
    let entry = Entry { auth: STANDARD.encode("me:se:cret"), ..Entry::default() };
    let auth = auth(entry);
    assert_eq!((auth.username.as_str(), auth.password.as_str()), ("me", "se:cret"));
}
