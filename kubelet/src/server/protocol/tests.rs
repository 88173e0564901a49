use http::HeaderMap;

use super::*;

/// What a client asks for.
pub(in super::super) fn asked(protocols: &str) -> Asked {
    let mut headers = HeaderMap::new();
    for (name, value) in [("upgrade", "websocket"), ("connection", "Upgrade"), ("sec-websocket-key", "x")] {
        headers.insert(name, value.parse().unwrap());
    }
    if !protocols.is_empty() {
        headers.insert("sec-websocket-protocol", protocols.parse().unwrap());
    }
    Asked::of(&headers).unwrap().unwrap()
}

#[test]
fn the_clients_order_decides_but_for_the_newest() {
    let of = |offered: &str| Protocol::of_command(&asked(offered)).map(|protocol| protocol.name);
    for (offered, chosen) in [
        ("", Some("")),
        ("channel.k8s.io", Some("channel.k8s.io")),
        ("base64.channel.k8s.io, v4.channel.k8s.io", Some("base64.channel.k8s.io")),
        ("other, v4.base64.channel.k8s.io", Some("v4.base64.channel.k8s.io")),
        ("v4.channel.k8s.io, v5.channel.k8s.io", Some("v5.channel.k8s.io")),
        ("v5.base64.channel.k8s.io", None),
    ] {
        assert_eq!(of(offered).ok(), chosen, "{offered}");
    }
    let of = |offered: &str| Protocol::of_ports(&asked(offered)).map(|protocol| protocol.name).ok();
    assert_eq!(of(""), Some(""));
    assert_eq!(of("v4.base64.channel.k8s.io, v4.channel.k8s.io"), Some("v4.base64.channel.k8s.io"));
    assert_eq!(of("channel.k8s.io"), None);
}

#[test]
fn messages_are_read_as_they_are_written() {
    let named = |name: &str| COMMANDS.iter().find(|protocol| protocol.name == name).unwrap();
    let (binary, text) = (named("v4.channel.k8s.io"), named("base64.channel.k8s.io"));
    assert_eq!(binary.encode(1, b"\n"), Message::Binary(b"\x01\n".to_vec().into()));
    assert_eq!(text.encode(1, b"\n"), Message::Text("1Cg==".into()));
    assert_eq!(text.encode(3, b""), Message::Text("3".into()));
    for protocol in [binary, text] {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(protocol.decode(protocol.encode(2, &bytes)), Some((2, bytes.into())));
        assert_eq!(protocol.decode(Message::Binary(Bytes::new())), None);
    }
    // Clients may send either kind of message.
    assert_eq!(text.decode(Message::Binary(b"0Zm9v\r\nCg==".to_vec().into())), Some((0, "foo\n".into())));
    assert_eq!(binary.decode(Message::Text("\0foo".into())), Some((0, "foo".into())));
    for broken in ["0Zm9", "0%", "/Zm9v"] {
        assert_eq!(text.decode(Message::Text(broken.into())), None, "{broken}");
    }
}

#[test]
fn only_versioned_protocols_tell_of_success() {
    let named = |name: &str| COMMANDS.iter().find(|protocol| protocol.name == name).unwrap();
    let failure = br#"{"status":"Failure","message":"exit code 3"}"#;
    let success = br#"{"metadata":{},"status":"Success"}"#;
    for (name, told) in [("", &b"exit code 3"[..]), ("v4.channel.k8s.io", failure)] {
        assert_eq!(named(name).result(failure), told, "{name}");
    }
    assert_eq!(named("base64.channel.k8s.io").result(success), b"");
    assert_eq!(named("v5.channel.k8s.io").result(success), success);
}
