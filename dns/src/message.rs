//! From bytes to a question and from a reply to bytes.

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::DNSClass;
use hickory_proto::serialize::binary::{BinEncodable as _, BinEncoder};

use crate::reply::{Question, Reply};

/// What everybody takes in a datagram (RFC 1035).
const PLAIN_DATAGRAM: u16 = 512;
/// What is sent in a datagram at most, whatever the caller says it can take.
const LARGEST_DATAGRAM: u16 = 4096;
/// What comes with a question: an EDNS record and a signature.
const MAX_ADDITIONALS: u16 = 2;

/// A message that asks something, and what to answer in its form.
pub struct Asked {
    message: Message,
    /// The question, unless there is something wrong with the message.
    pub question: Result<Question, ResponseCode>,
}

impl Asked {
    /// Reads a message; none if nobody is to be answered: what has no header, and answers, which would make two
    /// servers answer each other for ever.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let header: &[u8; 12] = bytes.first_chunk()?;
        if header[2] & 0x80 != 0 {
            return None;
        }
        let number = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        // Of more than a question nothing is read: names that lead to each other make it costly.
        let is_question = (number(4), number(6), number(8)) == (1, 0, 0) && number(10) <= MAX_ADDITIONALS;
        let read = is_question.then(|| Message::from_vec(bytes).ok()).flatten();
        let mut message = read.unwrap_or_else(|| Message::new(number(0), MessageType::Query, OpCode::Query));
        // Nobody needs them, and they would be kept while others are asked.
        message.additionals = Vec::new();
        let question = question_of(&message);
        Some(Self { message, question })
    }

    /// What was asked, as it was written.
    pub fn query(&self) -> Option<&Query> {
        self.message.queries.first()
    }

    /// Whether an EDNS record came, and what it said about the size of answers.
    pub fn room(&self) -> u16 {
        let told = self.message.edns.as_ref().map_or(PLAIN_DATAGRAM, Edns::max_payload);
        told.clamp(PLAIN_DATAGRAM, LARGEST_DATAGRAM)
    }

    /// The answer in bytes, cut to `room` with the mark that it is.
    pub fn answer(&self, reply: Reply, room: u16) -> Option<Vec<u8>> {
        let asked = &self.message.metadata;
        let mut message = Message::response(asked.id, asked.op_code);
        message.metadata.recursion_desired = asked.recursion_desired;
        message.metadata.checking_disabled = asked.checking_disabled;
        message.metadata.recursion_available = true;
        message.metadata.authoritative = reply.authoritative;
        message.metadata.authentic_data = reply.verified;
        message.metadata.truncation = reply.truncated;
        message.metadata.response_code = reply.code;
        message.queries.extend(self.message.queries.iter().take(1).cloned());
        message.answers = reply.answers;
        message.authorities = reply.authorities;
        message.additionals = reply.additionals;
        if let Some(asked) = &self.message.edns {
            let mut edns = Edns::new();
            edns.set_max_payload(LARGEST_DATAGRAM);
            edns.flags_mut().dnssec_ok = asked.flags().dnssec_ok;
            message.edns = Some(edns);
        }
        encoded(&message, room).or_else(|| {
            // Not even the first records fit: the caller asks again over TCP.
            message.answers.clear();
            message.authorities.clear();
            message.additionals.clear();
            message.metadata.truncation = true;
            encoded(&message, room)
        })
    }
}

fn encoded(message: &Message, room: u16) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(512);
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_max_size(room);
    match message.emit(&mut encoder) {
        Ok(()) => Some(bytes),
        Err(error) => {
            tracing::debug!(%error, "An answer cannot be written");
            None
        }
    }
}

fn question_of(message: &Message) -> Result<Question, ResponseCode> {
    if message.metadata.op_code != OpCode::Query {
        return Err(ResponseCode::NotImp);
    }
    let [query] = &*message.queries else { return Err(ResponseCode::FormErr) };
    if message.edns.as_ref().is_some_and(|edns| edns.version() != 0) {
        return Err(ResponseCode::BADVERS);
    }
    if !matches!(query.query_class(), DNSClass::IN | DNSClass::ANY) {
        return Err(ResponseCode::Refused);
    }
    Ok(Question {
        name: query.name().to_lowercase(),
        kind: query.query_type(),
        dnssec: message.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok),
    })
}

#[cfg(test)]
mod tests;
