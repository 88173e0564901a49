//! A server block at work: a question goes through what the Corefile says, in CoreDNS' fixed order, until something
//! has an answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, RecordType};
use rand::seq::SliceRandom as _;

use crate::cache::Cache;
use crate::corefile::{Classes, Server};
use crate::forward::Forward;
use crate::hosts::Hosts;
use crate::kubernetes::Index;
use crate::reply::{Question, Reply};
use crate::rewrite;

/// A name leads at most this far.
const LONGEST_CHAIN: usize = 8;
/// A question that comes back this often goes in circles.
const CIRCLES: usize = 2;

/// One server block.
pub struct Chain {
    /// What the Corefile says.
    pub server: Server,
    hosts: Option<Hosts>,
    index: Option<Index>,
    cache: Option<Cache>,
    forwards: Vec<Forward>,
    /// A name that only this server asks for, and how often it came back.
    probe: Option<(Name, AtomicUsize)>,
}

impl Chain {
    /// Makes what a server block says ready to work. `index` is there if the block is about the cluster.
    ///
    /// # Errors
    /// An address that is none.
    pub fn new(mut server: Server, index: Option<Index>) -> Result<Self, api::Message> {
        let forwards = std::mem::take(&mut server.forwards);
        let probe = server.detect_loops.then(|| {
            let labels = [rand::random::<u64>(), rand::random::<u64>()].map(|number| number.to_string());
            let name = Name::from_labels(labels.iter().map(String::as_bytes));
            let zone = server.zones.first().cloned().unwrap_or_else(Name::root);
            name.and_then(|name| name.append_domain(&zone)).unwrap_or_else(|_| Name::root())
        });
        Ok(Self {
            hosts: server.hosts.take().map(Hosts::new),
            cache: server.cache.take().map(Cache::new),
            forwards: forwards.into_iter().map(Forward::new).collect::<Result<_, _>>()?,
            probe: probe.map(|name| (name, AtomicUsize::new(0))),
            index,
            server,
        })
    }

    /// How well the block fits a name: the labels of its longest zone that does.
    pub fn fits(&self, name: &Name) -> Option<u8> {
        self.server.zones.iter().filter(|zone| zone.zone_of(name)).map(Name::num_labels).max()
    }

    /// The answer that needs nobody else; none if others have to be asked.
    pub fn at_once(&self, question: &Question) -> Option<Reply> {
        let mut inner = question.clone();
        let changed = rewrite::change(&self.server.rewrites, &mut inner);
        let mut reply = self.known(&inner).filter(|reply| reply.unresolved(inner.kind).is_none())?;
        if let Some(changed) = changed {
            changed.undo(&mut reply);
        }
        self.balance(&mut reply);
        Some(reply)
    }

    /// Answers, by asking others where need be.
    pub async fn answer(&self, question: &Question, over_tcp: bool) -> Reply {
        let mut inner = question.clone();
        let changed = rewrite::change(&self.server.rewrites, &mut inner);
        let mut reply = self.resolve(inner, over_tcp, LONGEST_CHAIN).await;
        if let Some(changed) = changed {
            changed.undo(&mut reply);
        }
        self.balance(&mut reply);
        reply
    }

    /// What this server knows by itself.
    fn known(&self, question: &Question) -> Option<Reply> {
        self.server
            .templates
            .iter()
            .find_map(|template| template.reply(question))
            .or_else(|| self.hosts.as_ref()?.reply(question))
            .or_else(|| self.server.kubernetes.as_ref()?.reply(question, self.index.as_ref()?))
            .or_else(|| self.cache.as_ref()?.get(question, Instant::now()))
    }

    /// Follows a name of ours that leads to another one.
    fn resolve(
        &self,
        question: Question,
        over_tcp: bool,
        further: usize,
    ) -> Pin<Box<dyn Future<Output = Reply> + Send + '_>> {
        Box::pin(async move {
            let mut reply = match self.known(&question) {
                Some(reply) => reply,
                None => self.ask(&question, over_tcp).await,
            };
            if let Some(target) = reply.unresolved(question.kind)
                && further > 0
                && reply.authoritative
            {
                let next = Question { name: target.to_lowercase(), ..question };
                let rest = self.resolve(next, over_tcp, further - 1).await;
                reply.truncated |= rest.truncated;
                reply.answers.extend(rest.answers);
            }
            reply
        })
    }

    async fn ask(&self, question: &Question, over_tcp: bool) -> Reply {
        if let Some((name, seen)) = &self.probe
            && *name == question.name
            && question.kind == RecordType::HINFO
        {
            seen.fetch_add(1, Ordering::Relaxed);
        }
        let forward =
            self.forwards.iter().filter_map(|forward| Some((forward.fits(&question.name)?, forward)));
        let Some((_, forward)) = forward.max_by_key(|(labels, _)| *labels) else {
            return Reply::empty(ResponseCode::Refused);
        };
        let reply = forward.ask(question, over_tcp).await;
        if let Some(cache) = &self.cache {
            cache.put(question, &reply, Instant::now());
        }
        reply
    }

    /// Sends a question that only this server asks, and says whether it came back.
    pub async fn goes_in_circles(&self) -> bool {
        let Some((name, seen)) = &self.probe else { return false };
        let question = Question { name: name.clone(), kind: RecordType::HINFO, dnssec: false };
        for forward in &self.forwards {
            forward.probe(&question).await;
        }
        seen.load(Ordering::Relaxed) >= CIRCLES
    }

    /// Whether an answer is logged.
    pub fn logs(&self, name: &Name, reply: &Reply) -> bool {
        let failed = !matches!(reply.code, ResponseCode::NoError | ResponseCode::NXDomain);
        let class_of = |classes: &Classes| match reply.code {
            _ if failed => classes.error,
            ResponseCode::NoError if !reply.answers.is_empty() => classes.success,
            _ => classes.denial,
        };
        (failed && self.server.errors)
            || self.server.log.iter().any(|(zone, classes)| zone.zone_of(name) && class_of(classes))
    }

    /// Changes the order of addresses.
    fn balance(&self, reply: &mut Reply) {
        let is_address =
            |record: &hickory_proto::rr::Record| matches!(record.data, RData::A(_) | RData::AAAA(_));
        if self.server.loadbalance && reply.answers.len() > 1 {
            // What leads to the addresses stays before them.
            let begin = reply.answers.iter().position(is_address).unwrap_or(reply.answers.len());
            if reply.answers[begin..].iter().all(is_address) {
                reply.answers[begin..].shuffle(&mut rand::rng());
            }
        }
    }
}

#[cfg(test)]
mod tests;
