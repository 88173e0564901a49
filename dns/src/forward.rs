//! Asking others. One question, one socket: its port and the message's number are random, and only an answer from
//! whom was asked, to what was asked, counts. Upstream counterpart: CoreDNS' plugin `forward`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use crate::reply::{Question, Reply};

const DNS_PORT: u16 = 53;
/// How long one server is given.
const ATTEMPT: Duration = Duration::from_secs(2);
/// How long a question is tried in all.
const PATIENCE: Duration = Duration::from_secs(5);
/// How large answers may be that servers send in one datagram.
pub const DATAGRAM: u16 = 1232;
/// Questions under way at a time, unless the Corefile says how many.
const MAX_CONCURRENT: usize = 1000;
/// Servers beyond these are not asked.
const MAX_SERVERS: usize = 15;

/// In which order servers are asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Policy {
    /// Any first.
    #[default]
    Random,
    /// Each in turn first.
    RoundRobin,
    /// The first first.
    Sequential,
}

/// What the Corefile says about asking others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The zone whose names are asked for.
    pub from: Name,
    /// Addresses, or files such as `/etc/resolv.conf`.
    pub to: Vec<String>,
    /// Zones whose names are not asked for.
    pub except: Vec<Name>,
    /// Whether to ask over TCP only.
    pub force_tcp: bool,
    /// Whether to ask over UDP first, also when the question came over TCP.
    pub prefer_udp: bool,
    /// How many questions may be under way; no limit if 0.
    pub max_concurrent: usize,
    /// In which order to ask.
    pub policy: Policy,
}

impl Settings {
    /// As the plugin has them unless told otherwise.
    pub fn new(from: Name, to: Vec<String>) -> Self {
        Self {
            from,
            to,
            except: Vec::new(),
            force_tcp: false,
            prefer_udp: false,
            max_concurrent: MAX_CONCURRENT,
            policy: Policy::Random,
        }
    }
}

/// Servers to ask about a zone.
pub struct Forward {
    settings: Settings,
    servers: Vec<SocketAddr>,
    turn: AtomicUsize,
    room: Semaphore,
}

impl Forward {
    /// Finds out whom to ask. A server's own machine in a file of servers is left out: from here it would be this
    /// server (`127.0.0.53` is the resolver of the node, not of the pod).
    ///
    /// # Errors
    /// An address that is none.
    pub fn new(settings: Settings) -> Result<Self, api::Message> {
        let mut servers = Vec::new();
        for to in &settings.to {
            match to.starts_with('/') {
                true => match std::fs::read_to_string(to) {
                    Ok(text) => servers.extend(nameservers(&text)),
                    Err(error) => tracing::warn!(file = to, %error, "Cannot read whom to ask"),
                },
                false => servers.push(server(to)?),
            }
        }
        servers.truncate(MAX_SERVERS);
        if servers.is_empty() {
            tracing::warn!(zone = %settings.from, "There is nobody to ask about names of this zone");
        }
        let room = match settings.max_concurrent {
            0 => Semaphore::MAX_PERMITS,
            limit => limit.min(Semaphore::MAX_PERMITS),
        };
        Ok(Self { settings, servers, turn: AtomicUsize::new(0), room: Semaphore::new(room) })
    }

    /// Whether this is whom to ask about a name; the more labels, the better.
    pub fn fits(&self, name: &Name) -> Option<u8> {
        let excepted = self.settings.except.iter().any(|zone| zone.zone_of(name));
        (self.settings.from.zone_of(name) && !excepted).then(|| self.settings.from.num_labels())
    }

    /// Asks one server after another until one answers.
    pub async fn ask(&self, question: &Question, over_tcp: bool) -> Reply {
        let Ok(_room) = self.room.try_acquire() else {
            tracing::warn!(zone = %self.settings.from, "Too many questions are under way");
            return Reply::empty(ResponseCode::Refused);
        };
        let count = self.servers.len();
        let start = match self.settings.policy {
            _ if count == 0 => 0,
            Policy::Sequential => 0,
            Policy::RoundRobin => self.turn.fetch_add(1, Ordering::Relaxed) % count,
            Policy::Random => rand::random_range(0..count),
        };
        let tcp = self.settings.force_tcp || (over_tcp && !self.settings.prefer_udp);
        let deadline = Instant::now() + PATIENCE;
        for at in 0..count {
            let server = self.servers[(start + at) % count];
            let until = deadline.min(Instant::now() + ATTEMPT);
            match timeout_at(until, ask(server, question, tcp)).await {
                Ok(Ok(reply)) => return reply,
                Ok(Err(error)) => tracing::debug!(%server, name = %question.name, %error, "No answer"),
                Err(_) => tracing::debug!(%server, name = %question.name, "No answer in time"),
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        tracing::warn!(name = %question.name, kind = %question.kind, "Nobody answers");
        Reply::empty(ResponseCode::ServFail)
    }

    /// Asks each server one question that this server would know again: if it comes back, questions go in circles.
    pub async fn probe(&self, question: &Question) {
        for server in &self.servers {
            drop(timeout(ATTEMPT, ask(*server, question, false)).await);
        }
    }
}

/// The servers of a `resolv.conf` that can be others.
fn nameservers(text: &str) -> impl Iterator<Item = SocketAddr> {
    text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let address = words.next().filter(|word| *word == "nameserver").and(words.next())?;
        let address: IpAddr = address.parse().ok()?;
        (!address.is_loopback() && !address.is_unspecified()).then_some(SocketAddr::new(address, DNS_PORT))
    })
}

fn server(text: &str) -> Result<SocketAddr, api::Message> {
    let text = text.strip_prefix("dns://").unwrap_or(text);
    let address = text.parse().map(|address: IpAddr| SocketAddr::new(address, DNS_PORT));
    address.or_else(|_| text.parse()).map_err(|_| api::message!("not an IP address or file: {text:?}"))
}

async fn ask(server: SocketAddr, question: &Question, tcp: bool) -> io::Result<Reply> {
    let id = rand::random();
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(question.name.clone(), question.kind));
    let mut edns = Edns::new();
    edns.set_max_payload(DATAGRAM);
    edns.flags_mut().dnssec_ok = question.dnssec;
    message.set_edns(edns);
    let bytes = message.to_vec().map_err(io::Error::other)?;
    let answer = match tcp {
        true => over_tcp(server, &bytes).await?,
        false => over_udp(server, &bytes, question, id).await?,
    };
    match answer_to(&answer, question, id) {
        Some(answer) => Ok(reply_of(answer)),
        None => Err(io::Error::new(io::ErrorKind::InvalidData, "not the answer to the question")),
    }
}

async fn over_udp(server: SocketAddr, bytes: &[u8], question: &Question, id: u16) -> io::Result<Vec<u8>> {
    let any = match server {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    // A connected socket takes nothing from anybody else.
    socket.connect(server).await?;
    socket.send(bytes).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // Somebody may guess at the answer: what does not fit is not listened to, and the real one may still come.
        if answer_to(&buffer[..length], question, id).is_some() {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

async fn over_tcp(server: SocketAddr, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), bytes].concat()).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; length.into()];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

/// The message, if it answers the question.
fn answer_to(bytes: &[u8], question: &Question, id: u16) -> Option<Message> {
    let message = Message::from_vec(bytes).ok()?;
    let [query] = &*message.queries else { return None };
    let fits = message.metadata.id == id
        && message.metadata.message_type == MessageType::Response
        && query.query_type() == question.kind
        && query.query_class() == DNSClass::IN
        && *query.name() == question.name;
    fits.then_some(message)
}

fn reply_of(message: Message) -> Reply {
    Reply {
        code: message.metadata.response_code,
        authoritative: message.metadata.authoritative,
        truncated: message.metadata.truncation,
        verified: message.metadata.authentic_data,
        answers: message.answers,
        authorities: message.authorities,
        additionals: message.additionals,
    }
}

#[cfg(test)]
mod tests;
