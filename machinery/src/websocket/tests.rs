use futures::{SinkExt as _, StreamExt as _};

use super::*;
use api::Message;
use tokio_tungstenite::tungstenite;

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(name.parse::<header::HeaderName>().unwrap(), value.parse().unwrap());
    }
    headers
}

#[test]
fn an_upgrade_is_asked_for_by_two_headers_and_a_key() {
    let upgrade = ("upgrade", "WebSocket");
    let connection = ("connection", "keep-alive, Upgrade");
    assert_eq!(Asked::of(&headers(&[upgrade])), Ok(None));
    assert_eq!(Asked::of(&headers(&[connection, ("upgrade", "SPDY/3.1")])), Ok(None));
    assert!(Asked::of(&headers(&[connection, upgrade])).is_err());
    let key = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    let protocols = [("sec-websocket-protocol", "b, c"), ("sec-websocket-protocol", "a")];
    let asked = Asked::of(&headers(&[connection, upgrade, key, protocols[0], protocols[1]]));
    let asked = asked.unwrap().unwrap();
    assert_eq!(asked.protocols, ["b", "c", "a"]);
    assert_eq!(asked.choose(&["", "a", "c"]), Ok("c"));
    let words = "unable to negotiate protocol: client supports [\"b\", \"c\", \"a\"], server accepts [\"x\"]";
    assert_eq!(asked.choose(&["", "x"]), Err(Message::from(words.to_owned())));
    assert_eq!(asked.accept("c")["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    let plain = Asked { protocols: Vec::new(), ..asked };
    assert_eq!((plain.choose(&["", "x"]), plain.choose(&["x"]).is_err()), (Ok(""), true));
    assert!(!plain.accept("").contains_key("sec-websocket-protocol"));
}

#[tokio::test]
async fn a_message_is_bounded() {
    for (size, fits) in [(LARGEST, true), (LARGEST + 1, false)] {
        let (near, far) = tokio::io::duplex(64 << 10);
        let mut client = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
        let mut server = over(far).await;
        // Whoever is not listened to any more fails to say it.
        let saying = async { drop(client.send(tungstenite::Message::Binary(vec![0; size].into())).await) };
        let hearing = async {
            let heard = server.next().await.expect("something is heard");
            drop(server);
            heard.map(|message| message.len())
        };
        let ((), heard) = tokio::join!(saying, hearing);
        assert_eq!(heard.ok(), fits.then_some(size));
    }
}
