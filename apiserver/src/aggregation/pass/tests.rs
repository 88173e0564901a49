use super::*;

#[test]
fn callers_are_named_as_front_proxies_do() {
    let user = User {
        name: "jäne".into(),
        uid: "7".into(),
        groups: vec!["a".into(), "b".into()],
        extra: [("example.com/Some%thing".into(), vec!["x".into(), "y".into()])].into(),
    };
    let headers = identity(&user).unwrap();
    let all =
        |name: &str| -> Vec<&[u8]> { headers.get_all(name).iter().map(HeaderValue::as_bytes).collect() };
    assert_eq!(all("X-Remote-User"), ["jäne".as_bytes()]);
    assert_eq!(all("X-Remote-Uid"), [b"7"]);
    assert_eq!(all("X-Remote-Group"), [b"a", b"b"]);
    assert_eq!(all("X-Remote-Extra-Example.com%2fsome%25thing"), [b"x", b"y"]);
    let broken = User { name: "a\nb".into(), ..User::default() };
    assert_eq!(identity(&broken).unwrap_err().code, 500);
}
