use super::*;

#[tokio::test]
async fn frames_are_written_as_the_standard_says() {
    let (near, mut far) = tokio::io::duplex(1024);
    let (_, mut writer) = split(near);
    assert_eq!(writer.open(&[("streamType", "stdin")]).await.unwrap(), 1);
    assert_eq!(writer.open(&[("streamType", "error")]).await.unwrap(), 3);
    writer.data(1, b"hi").await.unwrap();
    writer.close(1).await.unwrap();
    writer.pong(6).await.unwrap();
    let headers = |value: &str| [b"\0\0\0\x01\0\0\0\x0astreamtype\0\0\0\x05", value.as_bytes()].concat();
    let block = |value: &str| [&[0, 27, 0, 0xe4, 0xff][..], &headers(value), &[0, 0, 0, 0xff, 0xff]].concat();
    let expected = [
        &[0x80, 3, 0, 1, 0, 0, 0, 49, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x78, 0x01][..],
        &block("stdin"),
        &[0x80, 3, 0, 1, 0, 0, 0, 47, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0],
        &block("error"),
        &[0, 0, 0, 1, 0, 0, 0, 2, b'h', b'i'],
        &[0, 0, 0, 1, 1, 0, 0, 0],
        &[0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 6],
    ]
    .concat();
    let mut written = vec![0; expected.len()];
    far.read_exact(&mut written).await.unwrap();
    assert_eq!(written, expected);
}

#[tokio::test]
async fn frames_are_read_whole_or_not_at_all() {
    let (mut near, far) = tokio::io::duplex(1024);
    let (mut reader, _) = split(far);
    let sent = [
        &[0x80, 3, 0, 2, 0, 0, 0, 6, 0, 0, 0, 1, 9, 9][..], // reply, its headers are skipped
        &[0, 0, 0, 3, 0, 0, 0, 3, b'a', b'b', b'c'],        // data
        &[0, 0, 0, 3, 1, 0, 0, 0],                          // the end of it
        &[0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 2],           // ping
        &[0x80, 3, 0, 3, 0, 0, 0, 8, 0, 0, 0, 5, 0, 0, 0, 1], // reset
        &[0x80, 3, 0, 7, 0, 0, 0, 8, 0, 0, 0, 5, 0, 0, 0, 0], // goaway
        &[0, 0, 0, 3, 0, 0, 0, 3, b'a'],                    // cut off
    ]
    .concat();
    near.write_all(&sent).await.unwrap();
    drop(near);
    let data = |bytes: &'static [u8], last| Frame::Data { stream: 3, bytes: bytes.into(), last };
    let expected = [
        Frame::Other,
        data(b"abc", false),
        data(b"", true),
        Frame::Ping { id: 2 },
        Frame::Reset { stream: 5 },
        Frame::GoAway,
    ];
    for frame in expected {
        assert_eq!(reader.next().await.unwrap(), Some(frame));
    }
    assert_eq!(reader.next().await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn unusable_addresses_are_refused() {
    for url in ["", "unix:///run/x", "https://127.0.0.1:1/exec/a", "/exec/a"] {
        assert!(matches!(connect(url, &[]).await, Err(OpenError::Address(_))), "{url}");
    }
}
