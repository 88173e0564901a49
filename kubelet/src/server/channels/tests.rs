//! Sessions between a client and a runtime that are in the test's hands.

use std::future::pending;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_tungstenite::tungstenite::protocol::Role;

use super::super::protocol::tests::asked;
use super::*;

const ALL: Streams = Streams { stdin: true, stdout: true, stderr: true, tty: false };

struct Session {
    client: Socket<DuplexStream>,
    runtime: DuplexStream,
    joined: tokio::task::JoinHandle<anyhow::Result<()>>,
}

const V5: &str = "v5.channel.k8s.io";
const V4: &str = "v4.channel.k8s.io";

async fn session(streams: Streams, protocol: &str) -> Session {
    begin(Purpose::Command(streams), Protocol::of_command(&asked(protocol)).unwrap(), pending()).await
}

async fn begin(
    purpose: Purpose,
    protocol: &'static Protocol,
    over: impl Future<Output = ()> + Send + 'static,
) -> Session {
    let (near, far) = tokio::io::duplex(1 << 16);
    let client = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
    let server = WebSocketStream::from_raw_socket(far, Role::Server, None).await;
    let (runtime, ours) = tokio::io::duplex(1 << 16);
    let joined =
        tokio::task::spawn(async move { join(server, ours, &purpose, protocol, pending(), over).await });
    Session { client, runtime, joined }
}

impl Session {
    /// Reads frames that the runtime gets until one is a data frame.
    async fn data(&mut self) -> (u32, bool, Vec<u8>) {
        loop {
            let first = self.runtime.read_u32().await.unwrap();
            let second = self.runtime.read_u32().await.unwrap();
            let mut body = vec![0; (second & 0x00ff_ffff) as usize];
            self.runtime.read_exact(&mut body).await.unwrap();
            if first & 0x8000_0000 == 0 {
                return (first, second >> 24 == 1, body);
            }
        }
    }

    async fn send(&mut self, stream: u8, last: bool, bytes: &[u8]) {
        let length = u8::try_from(bytes.len()).unwrap();
        let frame = [&[0, 0, 0, stream, u8::from(last), 0, 0, length], bytes].concat();
        self.runtime.write_all(&frame).await.unwrap();
    }

    async fn received(&mut self) -> Option<Vec<u8>> {
        match self.client.next().await?.unwrap() {
            Message::Binary(bytes) => Some(bytes.to_vec()),
            Message::Text(text) => Some(text.as_bytes().to_vec()),
            Message::Close(_) => None,
            other => panic!("{other:?}"),
        }
    }
}

fn binary(channel: u8, bytes: &[u8]) -> Message {
    Message::Binary([&[channel], bytes].concat().into())
}

// Streams: 1 status, 3 stdin, 5 stdout, 7 stderr.

#[tokio::test]
async fn input_ends_and_output_and_status_come_through() {
    let mut session = session(ALL, V5).await;
    assert_eq!(session.received().await, Some(vec![STDOUT]));
    session.client.send(binary(STDIN, b"hello")).await.unwrap();
    assert_eq!(session.data().await, (3, false, b"hello".to_vec()));
    session.client.send(binary(CLOSE, &[STDIN])).await.unwrap();
    assert_eq!(session.data().await, (3, true, Vec::new()));
    session.send(5, false, b"out").await;
    session.send(7, true, b"err").await;
    session.send(5, true, b"").await;
    session.send(1, true, b"{}").await;
    assert_eq!(session.received().await, Some(b"\x01out".to_vec()));
    assert_eq!(session.received().await, Some(b"\x02err".to_vec()));
    assert_eq!(session.received().await, Some(b"\x03{}".to_vec()));
    assert_eq!(session.received().await, None);
    drop(session.client);
    session.joined.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_session_ends_when_the_runtime_goes_without_closing_its_streams() {
    let mut session = session(ALL, V4).await;
    session.send(1, false, b"{}").await;
    session.runtime.write_all(&[0x80, 3, 0, 7, 0, 0, 0, 8, 0, 0, 0, 5, 0, 0, 0, 0]).await.unwrap();
    assert_eq!(session.received().await, Some(vec![STDOUT]));
    assert_eq!(session.received().await, Some(b"\x03{}".to_vec()));
    assert_eq!(session.received().await, None);
}

#[tokio::test]
async fn a_runtime_that_goes_without_a_result_is_told_as_a_failure() {
    for protocol in [V5, V4, "channel.k8s.io"] {
        let mut session = session(ALL, protocol).await;
        assert_eq!(session.received().await, Some(vec![STDOUT]));
        session.send(5, false, b"out").await;
        drop(session.runtime);
        let mut received = Vec::new();
        while let Some(Ok(Message::Binary(bytes))) = session.client.next().await {
            received.push(bytes);
        }
        let text = String::from_utf8_lossy(&received.pop().unwrap()[1..]).into_owned();
        let words =
            "Internal error occurred: the container runtime broke the session off before it told a result";
        match serde_json::from_str::<serde_json::Value>(&text) {
            Ok(status) => {
                assert_eq!(
                    [&status["status"], &status["reason"]],
                    ["Failure", "InternalError"],
                    "{protocol}"
                );
                assert_eq!(status["message"], words, "{protocol}");
            }
            Err(_) => assert_eq!((text.as_str(), protocol), (words, "channel.k8s.io")),
        }
        assert_eq!(received.last().unwrap(), &b"\x01out"[..]);
    }
}

#[tokio::test]
async fn before_v5_there_is_no_close_signal() {
    let mut session = session(ALL, V4).await;
    session.client.send(binary(CLOSE, &[STDIN])).await.unwrap();
    session.client.send(binary(STDIN, b"x")).await.unwrap();
    assert_eq!(session.data().await, (3, false, b"x".to_vec()));
}

#[tokio::test]
async fn a_client_that_goes_ends_the_session() {
    let mut session = session(ALL, V5).await;
    session.client.close(None).await.unwrap();
    session.joined.await.unwrap().unwrap();
    let mut rest = Vec::new();
    session.runtime.read_to_end(&mut rest).await.unwrap();
    assert!(!rest.is_empty());
}

#[test]
fn a_terminal_has_sizes_and_no_separate_errors() {
    let names = |streams: Streams| streams.opened().map(|(_, name)| name).collect::<Vec<_>>().join(" ");
    assert_eq!(names(ALL), "error stdin stdout stderr");
    assert_eq!(names(Streams { tty: true, ..ALL }), "error stdin stdout resize");
    let output = Streams { stdin: false, stderr: false, ..ALL };
    assert_eq!(names(output), "error stdout");
}

#[tokio::test]
async fn a_result_comes_through_although_the_runtime_takes_no_more_input() {
    let mut session = session(ALL, V5).await;
    assert_eq!(session.received().await, Some(vec![STDOUT]));
    // More than fits on the way to a runtime that reads none of it.
    let (mut to, mut from) = session.client.split();
    let input = tokio::spawn(async move {
        let piece = vec![7; 32 * 1024];
        while to.send(binary(STDIN, &piece)).await.is_ok() {}
    });
    for (stream, bytes) in [(5, &b"out"[..]), (5, b""), (7, b""), (1, b"{}")] {
        let last = u8::from(stream == 1 || bytes.is_empty());
        let frame = [&[0, 0, 0, stream, last, 0, 0, bytes.len() as u8], bytes].concat();
        session.runtime.write_all(&frame).await.unwrap();
    }
    // As a runtime that has done its work: it closes with everything unread.
    drop(session.runtime);
    let mut received = Vec::new();
    while let Some(Ok(Message::Binary(bytes))) = from.next().await {
        received.push(bytes);
    }
    assert_eq!(received, [&b"\x01out"[..], b"\x03{}"]);
    drop(from);
    input.abort();
    let _cancelled = input.await;
    session.joined.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_session_that_is_over_is_heard_to_its_last_word() {
    let protocol = Protocol::of_command(&asked(V5)).unwrap();
    let mut session = begin(Purpose::Command(ALL), protocol, std::future::ready(())).await;
    assert_eq!(session.received().await, Some(vec![STDOUT]));
    let mut runtime = session.runtime;
    let speaking = tokio::spawn(async move {
        for _ in 0..1000 {
            runtime.write_all(&[&[0, 0, 0, 5, 0, 0, 4, 0][..], &[7; 1024]].concat()).await.unwrap();
        }
        // It never says that this was all.
        runtime.read_to_end(&mut Vec::new()).await.unwrap();
    });
    let mut count = 0;
    while let Some(Ok(Message::Binary(bytes))) = session.client.next().await {
        count += bytes.len() - 1;
        if count % (64 * 1024) == 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    assert_eq!(count, 1000 * 1024);
    drop(session.client);
    session.joined.await.unwrap().unwrap();
    speaking.await.unwrap();
}

#[tokio::test]
async fn old_protocols_are_told_of_failures_alone() {
    let failure = br#"{"status":"Failure","message":"exit 3"}"#;
    let success = br#"{"status":"Success"}"#;
    for (protocol, status, told) in [
        ("", &failure[..], Some(&b"\x03exit 3"[..])),
        ("channel.k8s.io", success, None),
        ("base64.channel.k8s.io", failure, Some(b"3ZXhpdCAz")),
        ("v4.base64.channel.k8s.io", success, Some(b"3eyJzdGF0dXMiOiJTdWNjZXNzIn0=")),
    ] {
        let mut session = session(Streams { stdin: false, stderr: false, ..ALL }, protocol).await;
        let base64 = protocol.contains("base64");
        assert_eq!(session.received().await, Some(vec![if base64 { b'1' } else { STDOUT }]));
        session.send(3, true, b"out").await;
        session.send(1, true, status).await;
        let out = if base64 { &b"1b3V0"[..] } else { b"\x01out" };
        assert_eq!(session.received().await.as_deref(), Some(out), "{protocol}");
        assert_eq!(session.received().await.as_deref(), told, "{protocol}");
    }
}

#[tokio::test]
async fn ports_have_a_channel_for_data_and_one_for_errors() {
    for (protocol, [first, error, data, closed]) in [
        ("v4.channel.k8s.io", [&b"\x00\x50\x00"[..], b"\x03\xbb\x01", b"\x02hello", b"\x03no"]),
        ("v4.base64.channel.k8s.io", [b"0UAA=", b"3uwE=", b"2aGVsbG8=", b"3bm8="]),
    ] {
        let protocol = Protocol::of_ports(&asked(protocol)).unwrap();
        let mut session = begin(Purpose::Ports(vec![80, 443]), protocol, pending()).await;
        let mut greetings = Vec::new();
        for _ in 0..4 {
            greetings.push(session.received().await.unwrap());
        }
        assert_eq!((&greetings[0][..], &greetings[3][..]), (first, error));
        // Streams: 1 errors and 3 data of the first port, 5 and 7 of the second. Errors come from the runtime only.
        assert_eq!(session.data().await, (1, true, Vec::new()));
        assert_eq!(session.data().await, (5, true, Vec::new()));
        for number in [1, 2] {
            session.client.send(protocol.encode(number, b"ping")).await.unwrap();
        }
        assert_eq!(session.data().await, (7, false, b"ping".to_vec()));
        session.send(7, true, b"hello").await;
        session.send(5, true, b"no").await;
        assert_eq!(session.received().await.as_deref(), Some(data));
        assert_eq!(session.received().await.as_deref(), Some(closed));
        session.send(3, true, b"").await;
        session.send(1, true, b"").await;
        assert_eq!(session.received().await, None);
    }
}

#[tokio::test]
async fn little_input_is_under_way_when_a_program_ends_at_once() {
    let mut session = session(ALL, V5).await;
    session.client.send(binary(STDIN, &[7; 3 * FIRST_INPUT])).await.unwrap();
    // What is passed on before it is clear that the program goes on.
    let (stream, _, first) = session.data().await;
    assert_eq!((stream, first.len()), (3, FIRST_INPUT));
    session.send(5, true, b"").await;
    session.send(7, true, b"").await;
    let more = tokio::time::timeout(2 * HOLD, session.data()).await;
    assert!(more.is_err(), "{more:?}");
    session.send(1, true, b"{}").await;
    for expected in [Some(vec![STDOUT]), Some(b"\x03{}".to_vec()), None] {
        assert_eq!(session.received().await, expected);
    }
}

#[tokio::test]
async fn input_flows_on_for_a_program_without_output() {
    let mut session = session(ALL, V5).await;
    session.client.send(binary(STDIN, &[7; 3 * FIRST_INPUT])).await.unwrap();
    session.send(5, true, b"").await;
    session.send(7, true, b"").await;
    let mut count = 0;
    while count < 3 * FIRST_INPUT {
        let (stream, _, bytes) = session.data().await;
        assert_eq!(stream, 3);
        count += bytes.len();
    }
    session.client.send(binary(CLOSE, &[STDIN])).await.unwrap();
    assert_eq!(session.data().await, (3, true, Vec::new()));
}
