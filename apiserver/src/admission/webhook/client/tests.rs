use super::*;

#[test]
fn a_url_is_read_as_go_joins_it() {
    let of = |url: &str| {
        let client = Client::new(&WebhookClientConfig { url: Some(url.to_owned()), ..Default::default() });
        (client.host, client.authority, client.path)
    };
    for (url, host, name, port, path) in [
        ("https://127.0.0.1:8443//validate", "127.0.0.1:8443", "127.0.0.1", 8443, "/validate"),
        ("https://hook.test", "hook.test", "hook.test", 443, "/"),
        ("https://[::1]:1/a/./b/../c/", "[::1]:1", "::1", 1, "/a/c"),
        ("https://hook.test/../..", "hook.test", "hook.test", 443, "/"),
    ] {
        assert_eq!(of(url), (host.to_owned(), (name.to_owned(), port), path.to_owned()), "{url}");
    }
}
