//! The WebSocket protocols of sessions: how channels are told apart, and how the result of a command is said.
//!
//! Upstream counterparts: `wsstream.Conn`, and the tables in the `websocket.go` of cri-streaming's `remotecommand` and
//! `portforward`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut as _, Bytes, BytesMut};
use machinery::websocket::Asked;
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

/// One protocol.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Protocol {
    /// As clients ask for it; "" is spoken with those that ask for none.
    pub name: &'static str,
    /// Messages are text: the channel's digit, and the bytes in base64.
    base64: bool,
    /// 255 says that the channel in the next byte is closed, which lets clients end standard input.
    pub closes: bool,
    /// The result of a command is a Status; else only the message of a failure.
    pub status: bool,
}

const fn protocol(name: &'static str, base64: bool, closes: bool, status: bool) -> Protocol {
    Protocol { name, base64, closes, status }
}

static COMMANDS: [Protocol; 6] = [
    protocol("v5.channel.k8s.io", false, true, true),
    protocol("v4.channel.k8s.io", false, false, true),
    protocol("v4.base64.channel.k8s.io", true, false, true),
    protocol("channel.k8s.io", false, false, false),
    protocol("base64.channel.k8s.io", true, false, false),
    protocol("", false, false, false),
];

static PORTS: [Protocol; 3] = [
    protocol("v4.channel.k8s.io", false, false, true),
    protocol("v4.base64.channel.k8s.io", true, false, true),
    protocol("", false, false, true),
];

impl Protocol {
    /// The protocol for exec or attach.
    pub(super) fn of_command(asked: &Asked) -> Result<&'static Self, api::Message> {
        // As upstream: whoever can close channels is not asked what else it can.
        let closing = COMMANDS.iter().find(|p| p.closes && asked.protocols.iter().any(|name| name == p.name));
        closing.map_or_else(|| Self::choose(asked, &COMMANDS), Ok)
    }

    /// The protocol for port-forward in channels.
    pub(super) fn of_ports(asked: &Asked) -> Result<&'static Self, api::Message> {
        Self::choose(asked, &PORTS)
    }

    fn choose(asked: &Asked, known: &'static [Self]) -> Result<&'static Self, api::Message> {
        let names: Vec<&str> = known.iter().map(|protocol| protocol.name).collect();
        let name = asked.choose(&names)?;
        Ok(known.iter().find(|protocol| protocol.name == name).expect("it was chosen from these"))
    }

    /// A message that says something on a channel.
    pub(super) fn encode(&self, channel: u8, bytes: &[u8]) -> Message {
        if self.base64 {
            let mut text = String::with_capacity(1 + bytes.len().div_ceil(3) * 4);
            text.push(char::from(b'0' + channel));
            STANDARD.encode_string(bytes, &mut text);
            return Message::Text(text.into());
        }
        let mut whole = BytesMut::with_capacity(1 + bytes.len());
        whole.put_u8(channel);
        whole.put_slice(bytes);
        Message::Binary(whole.freeze())
    }

    /// The channel and the bytes of a message; none where it has none, or they cannot be read.
    pub(super) fn decode(&self, message: Message) -> Option<(u8, Bytes)> {
        let mut bytes: Bytes = match message {
            Message::Binary(bytes) => bytes,
            Message::Text(text) => text.into(),
            _ => return None,
        };
        if bytes.is_empty() {
            return None;
        }
        let channel = bytes.split_to(1)[0];
        if !self.base64 {
            return Some((channel, bytes));
        }
        let text: Vec<u8> = bytes.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
        Some((channel.checked_sub(b'0')?, STANDARD.decode(text).ok()?.into()))
    }

    /// The result of a command as this protocol says it: nothing of success where there is no Status.
    pub(super) fn result(&self, status: &[u8]) -> Vec<u8> {
        if self.status {
            return status.to_vec();
        }
        match serde_json::from_slice::<Value>(status) {
            Ok(read) if read["status"] == "Success" => Vec::new(),
            Ok(read) => read["message"].as_str().unwrap_or_default().into(),
            Err(_) => status.to_vec(),
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
