//! The server's side of an upgrade to WebSocket (RFC 6455).
//!
//! Upstream counterpart: the handshake of `httpstream/wsstream`.

use std::time::Duration;

use futures::stream::{SplitSink, SplitStream};
use http::{HeaderMap, HeaderValue, header};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};

/// How long a client that has said goodbye may take to take ours.
const GOODBYE: Duration = Duration::from_secs(1);

/// The most that a client says in one message, which is in memory whole. Clients write whole files into containers in one.
const LARGEST: usize = 8 << 20;

/// All words of a header that lists some, in their order.
pub fn listed(headers: &HeaderMap, name: &str) -> Vec<String> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let words = values.flat_map(|value| value.split(',')).map(str::trim).filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

/// An upgrade to WebSocket that a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    key: HeaderValue,
    /// The protocols that the client would like to speak, best first.
    pub protocols: Vec<String>,
}

impl Asked {
    /// What the headers of a request ask for; none if they ask for something else.
    ///
    /// # Errors
    /// When the handshake's key is missing.
    pub fn of(headers: &HeaderMap) -> Result<Option<Self>, &'static str> {
        let has = |name: &str, wanted: &str| {
            listed(headers, name).iter().any(|word| word.eq_ignore_ascii_case(wanted))
        };
        if !has("upgrade", "websocket") || !has("connection", "upgrade") {
            return Ok(None);
        }
        let key = headers.get(header::SEC_WEBSOCKET_KEY).ok_or("there is no WebSocket key")?.clone();
        Ok(Some(Self { key, protocols: listed(headers, "sec-websocket-protocol") }))
    }

    /// The first of the client's protocols that is known; "" where the client names none and that is known.
    ///
    /// # Errors
    /// Why there is none.
    pub fn choose(&self, known: &[&'static str]) -> Result<&'static str, api::Message> {
        let find = |wanted: &str| known.iter().copied().find(|known| *known == wanted);
        let chosen = match self.protocols.is_empty() {
            true => find(""),
            false => self.protocols.iter().find_map(|wanted| find(wanted)),
        };
        chosen.ok_or_else(|| {
            let offered = &self.protocols;
            let known: Vec<&str> = known.iter().copied().filter(|known| !known.is_empty()).collect();
            api::message!(
                "unable to negotiate protocol: client supports {offered:?}, server accepts {known:?}"
            )
        })
    }

    /// The headers of the answer that agrees, in a protocol; "" names none.
    pub fn accept(&self, protocol: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        let accepted = HeaderValue::try_from(derive_accept_key(self.key.as_bytes()));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accepted.expect("base64 fits into a header"));
        // Clients that named none hang up when they are told one.
        if let Some(protocol) = Some(protocol).filter(|p| !p.is_empty()).and_then(|p| p.parse().ok()) {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        headers
    }
}

/// The server's end of an upgraded connection.
pub async fn server(upgraded: Upgraded) -> WebSocketStream<TokioIo<Upgraded>> {
    over(TokioIo::new(upgraded)).await
}

async fn over<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> WebSocketStream<S> {
    let limits = WebSocketConfig::default().max_message_size(Some(LARGEST)).max_frame_size(Some(LARGEST));
    WebSocketStream::from_raw_socket(stream, Role::Server, Some(limits)).await
}

/// The last message: everything has been said.
pub fn goodbye() -> Message {
    Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }))
}

/// Ends the connection below a WebSocket whose halves have done their work.
pub async fn let_go<S>(to: SplitSink<WebSocketStream<S>, Message>, from: SplitStream<WebSocketStream<S>>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if let Ok(whole) = to.reunite(from) {
        // Who was told everything, or is gone, takes it or does not.
        let _taken = tokio::time::timeout(GOODBYE, whole.into_inner().shutdown()).await;
    }
}

#[cfg(test)]
mod tests;
